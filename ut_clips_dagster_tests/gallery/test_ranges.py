"""Which bytes are sent for which headers, as RFC 9110 has it."""

from __future__ import annotations

import pytest

from ut_clips_dagster.gallery.ranges import part_of

ETAG = '"AbC=="'
SIZE = 1000


@pytest.mark.parametrize(
    ("asked", "status", "start", "length", "content_range"),
    [
        (None, 200, 0, 1000, None),
        ("bytes=0-", 206, 0, 1000, "bytes 0-999/1000"),
        ("bytes=0-0", 206, 0, 1, "bytes 0-0/1000"),
        ("bytes=100-199", 206, 100, 100, "bytes 100-199/1000"),
        ("bytes=999-", 206, 999, 1, "bytes 999-999/1000"),
        ("bytes=900-5000", 206, 900, 100, "bytes 900-999/1000"),
        ("bytes=-1", 206, 999, 1, "bytes 999-999/1000"),
        ("bytes=-5000", 206, 0, 1000, "bytes 0-999/1000"),
        ("bytes=1000-", 416, 0, 0, "bytes */1000"),
        ("bytes=-0", 416, 0, 0, "bytes */1000"),
        ("bytes=0-1,5-6", 200, 0, 1000, None),
        ("bytes=5-1", 200, 0, 1000, None),
        ("bytes=-", 200, 0, 1000, None),
        ("bytes=a-b", 200, 0, 1000, None),
        ("items=0-1", 200, 0, 1000, None),
        ("bytes=0-" + "9" * 40, 200, 0, 1000, None),
    ],
)
def test_a_range(asked: str | None, status: int, start: int, length: int, content_range: str | None) -> None:
    part = part_of({} if asked is None else {"range": asked}, SIZE, ETAG)
    assert (part.status, part.start, part.length) == (status, start, length)
    assert part.headers.get("content-range") == content_range
    assert part.headers["content-length"] == str(length)
    assert (part.headers["accept-ranges"], part.headers["etag"]) == ("bytes", ETAG)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"range": "bytes=0-9", "if-range": ETAG}, 206),
        ({"range": "bytes=0-9", "if-range": '"other"'}, 200),
        ({"range": "bytes=0-9", "if-range": f"W/{ETAG}"}, 200),
        ({"range": "bytes=0-9", "if-range": "Wed, 21 Oct 2026 07:28:00 GMT"}, 200),
        ({"if-none-match": ETAG}, 304),
        ({"if-none-match": f'"other", W/{ETAG}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"other"'}, 200),
    ],
)
def test_conditions(headers: dict[str, str], status: int) -> None:
    assert part_of(headers, SIZE, ETAG).status == status


def test_an_empty_object_has_no_ranges() -> None:
    assert part_of({"range": "bytes=0-"}, 0, ETAG).status == 416
    assert part_of({}, 0, ETAG).length == 0
