"""Each comparison alone, without a command; that all of them repair is shown by test_repair.py."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.documents import ClipListDocument, ClipProblem, Cut, Generation, ListedClip, StoredClip
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.rows import clip_metadata
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import SCHEMA, as_clip_metadata

from .damaged_archive import another_value

SESSION_ID, STUDY, CLIP = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
AT = datetime(2026, 1, 2, tzinfo=timezone.utc)
CUT = Cut(time_start_ms=0, time_end_ms=1000)
PATH = f"clips/{STUDY}/{SESSION_ID}/{CLIP}.mp4"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def records(store: LocalStore) -> SessionRecords:
    """A session with one clip, stored."""
    records = SessionRecords(store)
    clip = ListedClip(
        clip_uuid=CLIP,
        name="n",
        description=None,
        cut=CUT,
        video_uuid=STUDY,
        has_audio=True,
        has_camera=True,
        listed=True,
        first_listed_at=AT,
        listed_at=AT,
    )
    document = ClipListDocument(
        session_id=SESSION_ID, study_uuid=STUDY, first_listed_at=AT, listed_at=AT, clips=(clip,)
    )
    records.write_listing(SESSION_ID, lambda _: document)
    records.add_generation(SESSION_ID, Generation(clip_uuid=CLIP, cut=CUT, attempts=2, waited_s=1.0))
    info = store.put_clip(PATH, [b"clip"], "video/mp4")
    records.add_file(
        SESSION_ID,
        StoredClip(
            clip_uuid=CLIP,
            cut=CUT,
            storage_path=PATH,
            size_bytes=info.size_bytes,
            crc32c=info.crc32c,
            content_type="video/mp4",
            downloaded_at=AT,
        ),
    )
    return records


def found_by(records: SessionRecords, store: LocalStore, rows: pd.DataFrame | None) -> list[tuple[str, str]]:
    found = verification.session_differences(records.inspect(SESSION_ID), rows, store, read_data=True)
    return [(d.kind, d.repair.split()[1]) for d in found]


def rows_of(records: SessionRecords) -> pd.DataFrame:
    return clip_metadata(records.read(SESSION_ID))


def test_sound_session_has_no_difference(records: SessionRecords, store: LocalStore) -> None:
    assert found_by(records, store, rows_of(records)) == []


def test_rows_are_left_out_where_the_table_cannot_be_read(records: SessionRecords, store: LocalStore) -> None:
    assert found_by(records, store, None) == []


def test_listed_clip_without_a_file_is_archived_and_its_reason_told(records: SessionRecords, store: LocalStore) -> None:
    records.forget_files(SESSION_ID, frozenset({PATH}))
    records.set_problems(SESSION_ID, (ClipProblem(clip_uuid=CLIP, status="ERROR", error="the reason", at=AT),))
    assert found_by(records, store, rows_of(records)) == [("not stored", "archive")]
    (difference,) = verification.not_stored(records.read(SESSION_ID))
    assert "the reason" in difference.what


def test_session_without_a_listing_is_not_stored(store: LocalStore) -> None:
    assert found_by(SessionRecords(store), store, as_clip_metadata([])) == [("not stored", "archive")]


def test_object_that_was_cut_off_differs(records: SessionRecords, store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / PATH).write_bytes(b"cli")
    assert found_by(records, store, rows_of(records)) == [("object differs", "repair")]


def test_object_with_another_byte_of_the_same_size_differs(
    records: SessionRecords, store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / PATH).write_bytes(b"clap")
    assert found_by(records, store, rows_of(records)) == [("object differs", "repair")]


def test_object_that_is_gone_is_missing(records: SessionRecords, store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / PATH).unlink()
    assert found_by(records, store, rows_of(records)) == [("object missing", "repair")]


@pytest.mark.parametrize("column", SCHEMA.names)
def test_row_that_says_something_else_differs(records: SessionRecords, store: LocalStore, column: str) -> None:
    ((_, repair),) = found_by(records, store, another_value(column, rows_of(records)))
    assert repair == "repair"


def test_doubled_row_is_named(records: SessionRecords) -> None:
    rows = pd.concat([rows_of(records)] * 2)
    (difference,) = verification.rows(records.read(SESSION_ID), rows)
    assert "1 of them twice" in difference.what


@pytest.mark.parametrize("name", ["clip_list", "clip_urls", "clip_files"])
def test_lost_document_is_shown_by_the_others(
    records: SessionRecords, store: LocalStore, tmp_path: Path, name: str
) -> None:
    rows = rows_of(records)
    (tmp_path / "sessions" / SESSION_ID / f"{name}.json").unlink()
    assert ("document missing", "repair") in found_by(records, store, rows)
    assert name in " ".join(d.what for d in verification.documents(records.inspect(SESSION_ID), rows))


def test_documents_that_a_killed_run_had_not_written_yet_are_no_damage(store: LocalStore, tmp_path: Path) -> None:
    """Listed, and died: the clip is not stored yet, and nothing else is wrong."""
    records = SessionRecords(store)
    empty = ClipListDocument(session_id=SESSION_ID, study_uuid=STUDY, first_listed_at=AT, listed_at=AT, clips=())
    records.write_listing(SESSION_ID, lambda _: empty)
    assert found_by(records, store, as_clip_metadata([])) == []
    assert list(verification.documents(records.inspect(SESSION_ID), None)) == []
    assert (tmp_path / "sessions" / SESSION_ID / "clip_list.json").exists()


def test_unrecorded_objects_are_listed_apart(records: SessionRecords, store: LocalStore) -> None:
    store.put_clip("clips/left.mp4", [b"x"], "video/mp4")
    recorded = {f.storage_path for f in records.read(SESSION_ID).clip_files.files}
    assert verification.unrecorded(store, recorded) == ["clips/left.mp4"]
