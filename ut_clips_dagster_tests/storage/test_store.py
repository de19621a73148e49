"""What both stores promise."""

from __future__ import annotations

import base64
import json
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import pytest

from ut_clips_dagster.errors import MediaUnavailableError, NotAClipError, StorageConflictError, StorageError
from ut_clips_dagster.storage.store import Store, crc32c_of

PATH = "clips/study/session/clip.mp4"
MIB = 1024 * 1024


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def pieces(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def cut(data: bytes) -> Iterator[bytes]:
    """A stream that breaks off half-way."""
    yield from pieces(data[: len(data) // 2])
    raise MediaUnavailableError("cut")


def names(store: Store) -> set[str]:
    """All that is there, save the marker that the store could be written."""
    return set(store.walk("")) - {".writable"}


@pytest.mark.parametrize("size", [1, 99_999, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB])
def test_a_stream_is_stored_byte_for_byte(store: Store, size: int) -> None:
    data = os.urandom(size)
    info = store.put_clip(PATH, pieces(data), "video/mp4")
    assert (info.path, info.size_bytes, info.crc32c, info.adopted) == (PATH, size, crc32c(data), False)
    assert b"".join(store.read(PATH)) == data
    assert (store.size_bytes(PATH), store.checksum(PATH)) == (size, crc32c(data))
    assert names(store) == {PATH}


def test_a_range_is_those_bytes_and_fewer_only_at_the_end(store: Store) -> None:
    data = os.urandom(9 * MIB)
    store.put_clip(PATH, pieces(data), "video/mp4")
    for start, length in ((0, 1), (0, 1000), (12_345, MIB), (8 * MIB - 1, 2), (9 * MIB - 5, 5), (9 * MIB - 5, 100)):
        assert store.read_range(PATH, start, length) == data[start : start + length]
    with pytest.raises(StorageError, match="clips/other"):
        store.read_range("clips/other.mp4", 0, 10)


@pytest.mark.parametrize("size", [1_000, 20 * MIB])
def test_a_stream_that_breaks_off_leaves_nothing(store: Store, size: int) -> None:
    with pytest.raises(MediaUnavailableError, match="cut"):
        store.put_clip(PATH, cut(os.urandom(size)), "video/mp4")
    assert names(store) == set()
    assert store.size_bytes(PATH) is None
    whole = os.urandom(1_000)
    assert not store.put_clip(PATH, pieces(whole), "video/mp4").adopted
    assert b"".join(store.read(PATH)) == whole


def test_an_empty_stream_is_no_clip(store: Store) -> None:
    with pytest.raises(NotAClipError):
        store.put_clip(PATH, [], "video/mp4")
    assert names(store) == set()


def test_the_same_bytes_are_adopted(store: Store) -> None:
    data = os.urandom(300_000)
    store.put_clip(PATH, pieces(data), "video/mp4")
    again = store.put_clip(PATH, pieces(data, 7_000), "video/mp4")
    assert (again.adopted, again.size_bytes, again.crc32c) == (True, len(data), crc32c(data))
    assert names(store) == {PATH}


@pytest.mark.parametrize("other", [b"other bytes", b"first bytez", b"first bytes and more", b"f"])
def test_other_bytes_never_replace_what_is_there(store: Store, other: bytes) -> None:
    store.put_clip(PATH, [b"first bytes"], "video/mp4")
    with pytest.raises(StorageConflictError, match="left as it is"):
        store.put_clip(PATH, [other], "video/mp4")
    assert b"".join(store.read(PATH)) == b"first bytes"
    assert names(store) == {PATH}


def test_a_broken_stream_onto_a_taken_name_harms_nothing(store: Store) -> None:
    store.put_clip(PATH, [b"first bytes"], "video/mp4")
    with pytest.raises(MediaUnavailableError):
        store.put_clip(PATH, cut(b"first bytes" * 100_000), "video/mp4")
    assert b"".join(store.read(PATH)) == b"first bytes"


def test_of_writers_at_the_same_time_one_wins_and_the_others_adopt(store: Store) -> None:
    data = os.urandom(400_000)
    with ThreadPoolExecutor(6) as pool:
        infos = list(pool.map(lambda _: store.put_clip(PATH, pieces(data), "video/mp4"), range(6)))
    assert sum(not info.adopted for info in infos) <= 1
    assert {info.crc32c for info in infos} == {crc32c(data)}
    assert b"".join(store.read(PATH)) == data
    assert names(store) == {PATH}


def test_of_writers_of_different_bytes_one_wins_and_the_others_are_told(store: Store) -> None:
    contents = [os.urandom(200_000) for _ in range(5)]

    def put(data: bytes) -> bool:
        try:
            store.put_clip(PATH, pieces(data), "video/mp4")
        except StorageConflictError:
            return False
        return True

    with ThreadPoolExecutor(5) as pool:
        won = list(pool.map(put, contents))
    assert sum(won) == 1
    assert b"".join(store.read(PATH)) == contents[won.index(True)]


def test_memory_does_not_grow_with_the_clip(store: Store) -> None:
    block = os.urandom(MIB)
    tracemalloc.start()
    try:
        store.put_clip(PATH, (block for _ in range(64)), "video/mp4")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert store.size_bytes(PATH) == 64 * MIB
    assert peak < 40 * MIB


def test_a_document_is_created_replaced_and_read(store: Store) -> None:
    path = "sessions/s/clip_list.json"
    assert store.read_document(path) is None
    seen: list[bytes | None] = []

    def update(before: bytes | None) -> bytes:
        seen.append(before)
        return b"two" if before else b"one"

    assert store.update_document(path, update) == b"one"
    assert store.update_document(path, update) == b"two"
    assert seen == [None, b"one"]
    assert store.read_document(path) == b"two"
    assert names(store) == {path}


def test_an_update_that_fails_leaves_the_document(store: Store) -> None:
    store.update_document("sessions/s/a.json", lambda _: b"before")

    def fail(_: bytes | None) -> bytes:
        raise MediaUnavailableError("no")

    with pytest.raises(MediaUnavailableError):
        store.update_document("sessions/s/a.json", fail)
    assert store.read_document("sessions/s/a.json") == b"before"
    assert names(store) == {"sessions/s/a.json"}


def test_updates_at_the_same_time_lose_nothing(store: Store) -> None:
    def add(number: int) -> None:
        def update(before: bytes | None) -> bytes:
            return json.dumps([*json.loads(before or b"[]"), number]).encode()

        store.update_document("sessions/s/a.json", update)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(24)))
    assert sorted(json.loads(store.read_document("sessions/s/a.json") or b"")) == list(range(24))


def test_walk_finds_all_below_a_prefix(store: Store) -> None:
    for path in ("clips/a/1/x.mp4", "clips/a/1/x/0-1.mp4", "clips/b/2/y.mp4"):
        store.put_clip(path, [path.encode()], "video/mp4")
    store.update_document("sessions/1/a.json", lambda _: b"{}")
    assert sorted(store.walk("clips/a/")) == ["clips/a/1/x.mp4", "clips/a/1/x/0-1.mp4"]
    assert sorted(store.walk("clips/")) == ["clips/a/1/x.mp4", "clips/a/1/x/0-1.mp4", "clips/b/2/y.mp4"]
    assert list(store.walk("sessions/")) == ["sessions/1/a.json"]
    assert list(store.walk("nothing/")) == []


def test_an_archive_that_can_be_written_stays_empty(store: Store) -> None:
    store.check_writable()
    store.check_writable()
    assert names(store) == set()


def test_checksums_are_castagnoli_in_base64() -> None:
    assert crc32c_of([b"hel", b"lo"]) == "mnG7TA=="
