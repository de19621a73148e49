"""Which bytes of a clip a player asks for (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")
OK, PARTIAL, NOT_MODIFIED, UNSATISFIABLE = 200, 206, 304, 416


@dataclass(frozen=True)
class Part:
    """What is sent: a status, and the bytes from `start` on."""

    status: int
    start: int
    length: int
    headers: Mapping[str, str]


def part_of(headers: Mapping[str, str], size: int, etag: str) -> Part:
    """The part that the request's headers ask for, of an object of so many bytes.

    Several ranges at a time, and what is no range, are answered with everything, as the standard allows.
    """
    common = {"accept-ranges": "bytes", "etag": etag}
    if _names(headers.get("if-none-match"), etag):
        return Part(NOT_MODIFIED, 0, 0, common)
    asked = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if asked is None or headers.get("if-range", etag) != etag or not (asked[1] or asked[2]):
        return Part(OK, 0, size, common | {"content-length": str(size)})
    if asked[1]:
        start, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        if asked[2] and int(asked[2]) < start:
            return Part(OK, 0, size, common | {"content-length": str(size)})
    else:
        start, last = max(size - int(asked[2]), 0), size - 1
    if start > last:
        return Part(UNSATISFIABLE, 0, 0, common | {"content-range": f"bytes */{size}", "content-length": "0"})
    there = {"content-range": f"bytes {start}-{last}/{size}", "content-length": str(last - start + 1)}
    return Part(PARTIAL, start, last - start + 1, common | there)


def _names(if_none_match: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]
