"""JSON as strangers write it, and what its values mean: liberal where the sense is plain, strict where it is not."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
"""What a column of whole numbers can hold."""
MAX_DIGITS = 400
"""A longer number is as good as infinite; Python refuses to read one of more than 4,300 digits."""
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def decode_json(content: bytes) -> object:
    """The value of a JSON text: with a byte order mark or without, in UTF-8, UTF-16 or UTF-32.

    A byte that is no UTF-8, and half of a character (a name that was cut off within an emoji), become U+FFFD: they may
    cost a letter, not the answer.

    Raises:
        ValueError: it is no JSON.
    """
    text = content.decode(json.detect_encoding(content), "replace")
    try:
        return json.loads(text, strict=False, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def clean_text(value: object) -> object:
    """A text that can be stored; numbers are told as text."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def whole_number(value: object) -> object:
    """A number, or a text that is one, as a whole number that a column can hold; fractions are rounded.

    Raises:
        ValueError: it is not finite, or too large.
    """
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")  # noqa: TRY004 - pydantic wants a ValueError
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the number is not finite")
        value = round(value)
    if isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        raise ValueError("the number is beyond what 64 bits hold")
    return value


def truth(value: object) -> object:
    """A truth value; `True` and ` TRUE ` as text are true."""
    return value.strip().lower() if isinstance(value, str) else value


def moment(value: object) -> object:
    """A text without the spaces around it: pydantic knows ISO 8601 and Unix times, in seconds and milliseconds."""
    return value.strip() if isinstance(value, str) else value


def in_utc(at: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: in UTC it lies before year 1 or after year 9999.
    """
    try:
        return at.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("the moment is beyond the years 1 to 9999") from None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _number(text: str) -> int | float:
    text = text.strip()
    try:
        return _whole(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no number") from None
