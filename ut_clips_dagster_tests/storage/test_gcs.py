"""What can go wrong in GCS: refusals, cut uploads, answers that are lost, permissions."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from ut_clips_dagster.errors import MediaUnavailableError, StorageConflictError, StorageError
from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster_tests.gcs_emulator import ANY, FaultKind, GcsEmulator, Operation

from .conftest import FAST

PATH = "clips/study/session/clip.mp4"
MIB = 1024 * 1024


def test_objects_lie_below_the_prefix(gcs_store: GcsStore, gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    gcs_store.put_clip(PATH, [b"x"], "video/webm")
    blob = gcs_emulator.storage_client().bucket(gcs_bucket).get_blob(f"some/prefix/{PATH}")
    assert (blob.size, blob.content_type) == (1, "video/webm")
    assert gcs_store.uri == f"gs://{gcs_bucket}/some/prefix"
    assert GcsStore(gcs_emulator.storage_client(), gcs_bucket, "/").uri == f"gs://{gcs_bucket}"


@pytest.mark.parametrize("kind", ["status_429", "status_503", "reset"])
@pytest.mark.parametrize("operation", ["upload_start", "upload_chunk", "upload_final"])
def test_a_passing_failure_is_retried(
    gcs_store: GcsStore, gcs_emulator: GcsEmulator, kind: FaultKind, operation: Operation
) -> None:
    check_retried(gcs_store, gcs_emulator, kind, operation)


@pytest.mark.parametrize("operation", ["upload_chunk", "upload_final"])
def test_an_upload_that_is_cut_is_retried(gcs_store: GcsStore, gcs_emulator: GcsEmulator, operation: Operation) -> None:
    check_retried(gcs_store, gcs_emulator, "cut_upload", operation)


def check_retried(gcs_store: GcsStore, gcs_emulator: GcsEmulator, kind: FaultKind, operation: Operation) -> None:
    data = os.urandom(17 * MIB)
    fault = gcs_emulator.faults.add(kind, count=2, on=[operation], contains=PATH)
    info = gcs_store.put_clip(PATH, [data], "video/mp4")
    assert fault.hits == 2
    assert info.size_bytes == len(data)
    assert b"".join(gcs_store.read(PATH)) == data


@pytest.mark.parametrize("kind", ["ambiguous", "ambiguous_reset"])
@pytest.mark.parametrize("count", [1, None])
def test_a_lost_answer_is_resolved_by_looking(
    gcs_store: GcsStore, gcs_emulator: GcsEmulator, kind: FaultKind, count: int | None
) -> None:
    data = os.urandom(9 * MIB)
    gcs_emulator.faults.add(kind, count=count, contains=PATH)
    info = gcs_store.put_clip(PATH, [data], "video/mp4")
    assert info.size_bytes == len(data)
    assert b"".join(gcs_store.read(PATH)) == data
    assert len(gcs_emulator.requests.of("upload_start", contains=PATH)) == 1


@pytest.mark.parametrize("kind", ["status_503", "cut_upload", "forbidden", "reset"])
def test_a_lasting_failure_leaves_nothing_and_says_so(
    gcs_store: GcsStore, gcs_emulator: GcsEmulator, kind: FaultKind
) -> None:
    gcs_emulator.faults.add(kind, count=None, contains=PATH)
    says = "grant them Storage Object User" if kind == "forbidden" else "It is tried again"
    with pytest.raises(StorageError, match=f"Cannot store {PATH} in .*{says}.* Nothing stored was changed"):
        gcs_store.put_clip(PATH, [os.urandom(9 * MIB)], "video/mp4")
    gcs_emulator.faults.clear()
    gc.collect()
    assert list(gcs_store.walk("")) == []


def test_a_412_with_nothing_there_is_no_success(gcs_store: GcsStore, gcs_emulator: GcsEmulator) -> None:
    gcs_emulator.faults.add("status_412", contains=PATH)
    with pytest.raises(StorageError, match="but it is not there"):
        gcs_store.put_clip(PATH, [b"x"], "video/mp4")
    gc.collect()
    assert list(gcs_store.walk("")) == []


@pytest.mark.parametrize("same", [True, False])
def test_another_run_that_was_faster_is_compared(
    gcs_store: GcsStore, gcs_emulator: GcsEmulator, gcs_bucket: str, *, same: bool
) -> None:
    """The name is free at the start of the upload, and taken at its end."""
    data = os.urandom(9 * MIB)
    other = GcsStore(gcs_emulator.storage_client(), gcs_bucket, "some/prefix", retry=FAST)
    theirs = data if same else b"theirs"

    def raced() -> Iterator[bytes]:
        yield data[: 8 * MIB + 1]
        other.put_clip(PATH, [theirs], "video/mp4")
        yield data[8 * MIB + 1 :]

    if same:
        assert gcs_store.put_clip(PATH, raced(), "video/mp4").adopted
    else:
        with pytest.raises(StorageConflictError):
            gcs_store.put_clip(PATH, raced(), "video/mp4")
    assert b"".join(gcs_store.read(PATH)) == theirs


@pytest.mark.parametrize("size", [1000, 9 * MIB])
@pytest.mark.parametrize("kind", ["status_503", "reset"])
def test_garbage_collection_does_not_finish_an_upload_that_broke_off(
    gcs_store: GcsStore, gcs_emulator: GcsEmulator, size: int, kind: FaultKind
) -> None:
    """The library's own writer did: it stored what it had, as the whole, when it could not be cancelled."""

    def cut() -> Iterator[bytes]:
        yield os.urandom(size)
        gcs_emulator.faults.add(kind, count=None, on=["upload_status"])
        raise MediaUnavailableError("cut")

    with pytest.raises(MediaUnavailableError):
        gcs_store.put_clip(PATH, cut(), "video/mp4")
    gcs_emulator.faults.clear()
    gc.collect()
    assert list(gcs_store.walk("")) == []


@pytest.mark.parametrize("kind", ["status_412", "status_429", "status_503", "ambiguous", "ambiguous_reset", "reset"])
def test_a_document_survives_a_passing_failure(gcs_store: GcsStore, gcs_emulator: GcsEmulator, kind: FaultKind) -> None:
    gcs_emulator.faults.add(kind, count=2, contains="a.json")
    for number in range(3):
        gcs_store.update_document("sessions/s/a.json", lambda before, n=number: (before or b"") + b"%d" % n)  # type: ignore[misc]
    content = gcs_store.read_document("sessions/s/a.json") or b""
    assert content.startswith(b"0")
    assert content.endswith(b"2")
    assert set(content) == set(b"012")


def test_a_document_that_others_keep_changing_is_given_up(gcs_store: GcsStore, gcs_emulator: GcsEmulator) -> None:
    gcs_emulator.faults.add("status_412", count=None, contains="a.json")
    with pytest.raises(StorageError, match="other runs keep changing it"):
        gcs_store.update_document("sessions/s/a.json", lambda _: b"{}")


def test_a_missing_bucket_is_named(gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    store = GcsStore(gcs_emulator.storage_client(), f"{gcs_bucket}-none", "", retry=FAST)
    for use in (
        store.check_writable,
        lambda: store.put_clip(PATH, [b"x"], "video/mp4"),
        lambda: store.update_document("a.json", lambda _: b"{}"),
        lambda: list(store.walk("")),
    ):
        with pytest.raises(StorageError, match=f"gs://{gcs_bucket}-none .404.. The bucket or object does not exist"):
            use()


def test_no_permission_is_named(gcs_store: GcsStore, gcs_emulator: GcsEmulator) -> None:
    gcs_emulator.faults.add("forbidden", count=None, on=ANY)
    for use in (
        gcs_store.check_writable,
        lambda: gcs_store.put_clip(PATH, [b"x"], "video/mp4"),
        lambda: gcs_store.read_document("a.json"),
        lambda: gcs_store.update_document("a.json", lambda _: b"{}"),
        lambda: gcs_store.size_bytes(PATH),
        lambda: gcs_store.checksum(PATH),
        lambda: list(gcs_store.read(PATH)),
        lambda: list(gcs_store.walk("")),
    ):
        with pytest.raises(StorageError, match=r"\(403\). The credentials may not do that"):
            use()


def test_an_object_that_is_not_there_is_named(gcs_store: GcsStore) -> None:
    for use in (lambda: gcs_store.checksum(PATH), lambda: list(gcs_store.read(PATH))):
        with pytest.raises(StorageError, match="404"):
            use()


def test_existence_is_checked_before_anything_is_streamed(gcs_store: GcsStore, gcs_emulator: GcsEmulator) -> None:
    gcs_store.put_clip(PATH, [b"x"], "video/mp4")
    gcs_emulator.requests.clear()
    assert gcs_store.put_clip(PATH, [b"x"], "video/mp4").adopted
    assert gcs_emulator.requests.of("upload_start", "upload_chunk", "upload_final") == []
