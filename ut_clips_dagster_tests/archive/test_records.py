"""Documents are sealed, merged, and never lost to another writer."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ut_clips_dagster.archive.documents import (
    ClipFilesDocument,
    ClipListDocument,
    ClipProblem,
    Cut,
    Generation,
    ListedClip,
    SessionDocument,
    StoredClip,
)
from ut_clips_dagster.archive.records import (
    CLIP_FILES,
    CLIP_LIST,
    DOCUMENTS,
    SESSION,
    SessionRecords,
    clip_path,
    seal,
    unseal,
)
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.local import LocalStore

SESSION_ID, STUDY, CLIP = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
CUT = Cut(time_start_ms=1000, time_end_ms=9000)


@pytest.fixture
def records(tmp_path: Path) -> SessionRecords:
    return SessionRecords(LocalStore(tmp_path), clock=lambda: AT + timedelta(days=1))


def listing(at: datetime = AT) -> ClipListDocument:
    clip = ListedClip(
        clip_uuid=CLIP,
        name="a clip",
        description=None,
        cut=CUT,
        video_uuid=STUDY,
        has_audio=True,
        has_camera=False,
        listed=True,
        first_listed_at=AT,
        listed_at=at,
    )
    return ClipListDocument(session_id=SESSION_ID, study_uuid=STUDY, first_listed_at=AT, listed_at=at, clips=(clip,))


def file(clip_uuid: str = CLIP, cut: Cut = CUT, path: str | None = None) -> StoredClip:
    return StoredClip(
        clip_uuid=clip_uuid,
        cut=cut,
        storage_path=path or f"clips/{clip_uuid}.mp4",
        size_bytes=5,
        crc32c="AAAAAA==",
        content_type="video/mp4",
        downloaded_at=AT,
    )


VALUES = st.none() | st.text(max_size=9) | st.integers() | st.lists(st.text(max_size=9), max_size=3)


@given(st.dictionaries(st.text(min_size=1, max_size=9), VALUES, min_size=1, max_size=9))
def test_seal_is_taken_off_again_and_the_document_stays_readable_json(content: dict[str, object]) -> None:
    payload = json.dumps(content, indent=1).encode()
    sealed = seal(payload)
    assert unseal(sealed) == payload
    content.pop("sha256", None)
    assert content.items() <= json.loads(sealed).items()


@given(st.data())
def test_change_of_any_byte_breaks_the_seal(data: st.DataObject) -> None:
    sealed = bytearray(seal(listing().model_dump_json(indent=1).encode()))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="seal"):
        unseal(bytes(sealed))


@given(st.data())
def test_cut_off_or_longer_document_breaks_the_seal(data: st.DataObject) -> None:
    sealed = seal(listing().model_dump_json(indent=1).encode())
    cut = data.draw(st.integers(0, len(sealed) - 1))
    for changed in (sealed[:cut], sealed + sealed[cut:]):
        with pytest.raises(ValueError, match="seal"):
            unseal(changed)


def test_session_of_which_nothing_is_stored_is_empty(records: SessionRecords) -> None:
    record = records.read(SESSION_ID)
    assert record.session is None
    assert record.clip_list is None
    assert not record.is_complete
    assert records.inspect(SESSION_ID).present == frozenset()


def test_what_is_written_is_read(records: SessionRecords) -> None:
    records.write_listing(SESSION_ID, lambda _: listing())
    records.add_generation(SESSION_ID, Generation(clip_uuid=CLIP, cut=CUT, attempts=2, waited_s=1.5, issued_at=AT))
    records.add_file(SESSION_ID, file())
    record = records.read(SESSION_ID)
    assert record.clip_list == listing()
    assert record.is_complete
    assert record.clip_files.files == (file(),)
    assert records.inspect(SESSION_ID).record == record


def test_older_listing_never_replaces_a_newer_one(records: SessionRecords) -> None:
    newer = listing(AT + timedelta(minutes=1))
    records.write_listing(SESSION_ID, lambda _: newer)
    assert records.write_listing(SESSION_ID, lambda _: listing()) == newer
    assert records.read(SESSION_ID).clip_list == newer


def test_session_found_again_keeps_the_time_it_was_first_found(records: SessionRecords) -> None:
    found = SessionDocument(
        session_id=SESSION_ID, test_id=STUDY, status="COMPLETE", started_at=AT, finished_at=None, found_at=AT
    )
    records.write_session(found)
    records.write_session(found.model_copy(update={"finished_at": AT, "found_at": AT + timedelta(days=1)}))
    assert records.session(SESSION_ID) == found.model_copy(update={"finished_at": AT})


def test_file_recorded_by_another_run_stays_the_one(records: SessionRecords) -> None:
    records.add_file(SESSION_ID, file(path="clips/first.mp4"))
    records.add_file(SESSION_ID, file(path="clips/second.mp4"))
    assert [f.storage_path for f in records.read(SESSION_ID).clip_files.files] == ["clips/first.mp4"]


def test_stored_file_ends_the_clips_problem(records: SessionRecords) -> None:
    problem = ClipProblem(clip_uuid=CLIP, status="ERROR", error="no", at=AT)
    records.set_problems(SESSION_ID, (problem,))
    assert records.read(SESSION_ID).clip_files.problem_of(CLIP) == problem
    records.add_file(SESSION_ID, file())
    assert records.read(SESSION_ID).clip_files.problems == ()


def test_two_writers_of_one_document_lose_nothing(records: SessionRecords) -> None:
    uuids = [str(uuid.UUID(int=100 + number)) for number in range(12)]
    threads = [threading.Thread(target=records.add_file, args=(SESSION_ID, file(each))) for each in uuids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f.clip_uuid for f in records.read(SESSION_ID).clip_files.files} == set(uuids)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_damaged_document_is_refused_with_the_command_that_repairs_it(
    records: SessionRecords, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "sessions" / SESSION_ID / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}")
    with pytest.raises(StorageError, match=f"{name}.json.*ut-clips repair --session {SESSION_ID}"):
        records.read(SESSION_ID)
    assert records.inspect(SESSION_ID).damaged == (name,)


def test_document_of_another_session_is_damage(records: SessionRecords, tmp_path: Path) -> None:
    records.write_listing(SESSION_ID, lambda _: listing())
    other = tmp_path / "sessions" / CLIP
    (tmp_path / "sessions" / SESSION_ID).rename(other)
    assert records.inspect(CLIP).damaged == (CLIP_LIST,)


def test_mended_document_takes_the_place_of_a_damaged_one_only(records: SessionRecords, tmp_path: Path) -> None:
    records.write_listing(SESSION_ID, lambda _: listing())
    other = listing(AT + timedelta(hours=1))
    records.mend(SESSION_ID, CLIP_LIST, other)
    assert records.read(SESSION_ID).clip_list == listing()
    path = tmp_path / "sessions" / SESSION_ID / "clip_list.json"
    path.write_bytes(path.read_bytes()[:-10])
    records.mend(SESSION_ID, CLIP_LIST, other)
    assert records.read(SESSION_ID).clip_list == other


def test_document_that_cannot_be_rebuilt_is_as_good_as_absent(records: SessionRecords, tmp_path: Path) -> None:
    path = tmp_path / "sessions" / SESSION_ID / "session.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    records.mend(SESSION_ID, SESSION, None)
    assert records.session(SESSION_ID) is None
    assert records.inspect(SESSION_ID).damaged == ()
    records.write_session(
        SessionDocument(
            session_id=SESSION_ID, test_id=STUDY, status="COMPLETE", started_at=AT, finished_at=AT, found_at=AT
        )
    )
    assert records.session(SESSION_ID) is not None


def test_forgotten_file_leaves_the_others_and_their_objects(records: SessionRecords) -> None:
    other = Cut(time_start_ms=0, time_end_ms=1)
    records.add_file(SESSION_ID, file(path="clips/a.mp4"))
    records.add_file(SESSION_ID, file(cut=other, path="clips/b.mp4"))
    left = records.forget_files(SESSION_ID, frozenset({"clips/a.mp4"}))
    assert [f.storage_path for f in left.files] == ["clips/b.mp4"]
    assert records.inspect(SESSION_ID).present == {CLIP_FILES}
    assert isinstance(records.inspect(SESSION_ID).record.clip_files, ClipFilesDocument)


def test_paths_of_a_clip_are_its_own_name_then_its_cuts_then_numbered() -> None:
    clip = listing().clips[0]
    base = f"clips/{STUDY}/{SESSION_ID}/{CLIP}"
    assert [clip_path(STUDY, SESSION_ID, clip, variant) for variant in range(3)] == [
        f"{base}.mp4",
        f"{base}/1000-9000.mp4",
        f"{base}/1000-9000-2.mp4",
    ]
