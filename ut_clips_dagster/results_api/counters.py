"""What an answer's headers tell of the request budget, in whatever unit they tell it. Pure.

The API's document says `x-ratelimit-limit`, `-remaining` and `-reset` in whole seconds. Others tell the reset in
milliseconds or as a time of day, and proxies add lists such as `10, 10;w=60`. A number that makes no sense is as good
as not told: an absurd one must not stop a run for hours.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

MOST_REQUESTS = 100_000
"""A larger limit or remainder is none."""
LONGEST_WINDOW_S = 1000.0
"""A larger reset is not in seconds: the API's window is a minute (OpenAPI document)."""
LONGEST_WAIT_S = 3600.0
"""A time to wait that is longer is none."""
EPOCH_S, EPOCH_MS, EPOCH_US = 1e9, 1e11, 1e14
"""From here on a number is a Unix time in seconds, and in milliseconds, and nothing that is known."""
_FIRST = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")


@dataclass(frozen=True)
class Counters:
    """The budget as one answer tells it; None is what it does not tell."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    retry_after_s: float | None = None
    in_ms: bool = False
    """The reset was told in milliseconds."""

    @classmethod
    def of(cls, headers: Mapping[str, str], wall_s: float | None = None, *, in_ms: bool = False) -> Counters:
        """Read an answer's headers.

        Args:
            headers: the answer's.
            wall_s: the present Unix time; the answer's own `Date` goes before it, as our clock may be wrong.
            in_ms: an earlier answer was: in the last second of a window a number alone does not tell.
        """
        now_s = _date(headers.get("date"))
        if now_s is None:
            now_s = time.time() if wall_s is None else wall_s
        reset_s, in_ms = _reset_s(headers.get("x-ratelimit-reset"), now_s, in_ms=in_ms)
        limit = _number(headers.get("x-ratelimit-limit"))
        remaining = _number(headers.get("x-ratelimit-remaining"))
        return cls(
            limit=int(limit) if limit is not None and 1 <= limit <= MOST_REQUESTS else None,
            remaining=max(0, int(remaining)) if remaining is not None and remaining <= MOST_REQUESTS else None,
            reset_s=reset_s,
            retry_after_s=_retry_after_s(headers.get("retry-after"), now_s),
            in_ms=in_ms,
        )


def _reset_s(value: str | None, now_s: float, *, in_ms: bool) -> tuple[float | None, bool]:
    number = _number(value)
    if number is None:
        return _until(_date(value), now_s), in_ms
    if number >= EPOCH_S:
        at_s = number if number < EPOCH_MS else number / 1000 if number < EPOCH_US else None
        return _until(at_s, now_s), in_ms
    if number > LONGEST_WINDOW_S or in_ms:
        return (max(0.0, number / 1000), True) if number / 1000 <= LONGEST_WAIT_S else (None, in_ms)
    return max(0.0, number), False


def _retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds, or the date of HTTP."""
    number = _number(value)
    if number is None:
        return _until(_date(value), now_s)
    return max(0.0, number) if number <= LONGEST_WAIT_S else None


def _until(at_s: float | None, now_s: float) -> float | None:
    """Seconds until then; None when that is too far away, before or after, to be meant."""
    return None if at_s is None or abs(at_s - now_s) > LONGEST_WAIT_S else max(0.0, at_s - now_s)


def _number(value: str | None) -> float | None:
    """The first number of a list; None when there is none, or no finite one."""
    first = (value or "").replace(";", ",").split(",")[0].strip()
    if not _FIRST.fullmatch(first):
        return None
    number = float(first)
    return number if math.isfinite(number) else None


def _date(value: str | None) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, TypeError, OverflowError):
        return None
