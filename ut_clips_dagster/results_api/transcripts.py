"""The body of a transcript's answer: WebVTT, as such or as one JSON string. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from ut_clips_dagster.errors import InvalidAnswerError, TranscriptTooLargeError

MAX_TRANSCRIPT_BYTES = 4 * 1024 * 1024
"""A day of speech; a larger answer is refused before it fills the memory."""
_BOM = b"\xef\xbb\xbf"
_HEADER = re.compile(rb"WEBVTT(?![^\s])")


def read_bounded(chunks: Iterable[bytes], what: str, limit: int = MAX_TRANSCRIPT_BYTES) -> bytes:
    """All bytes of a body.

    Raises:
        TranscriptTooLargeError: there are more than `limit`.
    """
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise TranscriptTooLargeError(
                f"The Results API's answer for {what} is larger than {limit:,} bytes; it was not read on, nor stored."
            )
    return bytes(body)


def webvtt_of(body: bytes, what: str) -> bytes:
    """The transcript that a body holds, byte for byte; empty when it holds nothing.

    The official document says text/vtt in one place and application/json in another, so a JSON string is unwrapped.

    Raises:
        InvalidAnswerError: it is no WebVTT.
    """
    text = body.removeprefix(_BOM).strip()
    if text.startswith(b'"'):
        body = _unwrapped(text, what)
        text = body.removeprefix(_BOM).strip()
    if not text:
        return b""
    if not is_webvtt(body):
        raise InvalidAnswerError(
            f"The Results API's answer for {what} is no WebVTT: it does not begin with WEBVTT. "
            "It is asked for again later."
        )
    return body


def is_webvtt(body: bytes) -> bool:
    """Whether bytes begin as WebVTT does."""
    return _HEADER.match(body.removeprefix(_BOM)) is not None


def _unwrapped(text: bytes, what: str) -> bytes:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise InvalidAnswerError(f"The Results API's answer for {what} begins as a JSON string, but is none.")
    return value.encode("utf-8", "replace")  # half a surrogate pair has no bytes
