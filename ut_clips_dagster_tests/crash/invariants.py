"""What must hold of an archive at every moment, also when the process that wrote it has just died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import CLIPS, SESSIONS, SessionRecords
from ut_clips_dagster.archive.rows import STORED, clip_metadata, same_rows
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store

Expected = Callable[[str], bytes]
"""The bytes of a clip's file, by its UUID."""


@dataclass(frozen=True)
class Moment:
    """An archive as it is now."""

    records: dict[str, SessionRecord]
    recorded: frozenset[str]
    """Clips recorded as stored."""
    final_names: dict[str, str]
    """Clip by final name."""


def assert_sound(store: Store, expected: Expected, events: set[str]) -> Moment:
    """Nothing is there that is not true; what is lacking may be lacking."""
    final_names = {path: path.split("/")[3].removesuffix(".mp4") for path in store.walk(CLIPS) if path.endswith(".mp4")}
    for path, clip_uuid in final_names.items():
        assert b"".join(store.read(path)) == expected(clip_uuid), f"{path} holds wrong bytes"
    records = SessionRecords(store)
    sessions = {path.split("/")[1] for path in store.walk(SESSIONS)}
    table = MetadataTable(store.uri).read()
    found: dict[str, SessionRecord] = {}
    for session_id in sessions:
        inspection = records.inspect(session_id)
        found[session_id] = record = inspection.record
        rows = table[table["session_id"] == session_id]
        assert list(verification.documents(inspection, rows)) == []
        assert list(verification.objects(record, store, read_data=True)) == []
        files = {f.storage_path: (f.size_bytes, f.crc32c) for f in record.clip_files.files}
        for row in rows[rows["status"] == STORED].itertuples():
            assert files[row.storage_path] == (row.size_bytes, row.crc32c), "a row says STORED before its document"
        assert not rows["clip_uuid"].duplicated().any()
        if session_id in events:
            assert record.is_complete, "an event was logged for a session that is not complete"
            assert same_rows(clip_metadata(record), rows)
    assert set(table["session_id"]) <= sessions, "rows before documents"
    assert events <= sessions
    recorded = frozenset(f.clip_uuid for record in found.values() for f in record.clip_files.files)
    return Moment(found, recorded, final_names)


def assert_complete(store: Store, expected: Expected, clips: dict[str, set[str]], events: set[str]) -> None:
    """Everything is there, once, and verified."""
    moment = assert_sound(store, expected, events)
    assert events == set(clips)
    for session_id, uuids in clips.items():
        record = moment.records[session_id]
        assert record.is_complete
        assert sorted(f.clip_uuid for f in record.clip_files.files) == sorted(uuids)
    assert sorted(moment.final_names.values()) == sorted(uuid for uuids in clips.values() for uuid in uuids)
    table = MetadataTable(store.uri).read()
    assert set(table["status"]) <= {STORED}
    assert len(table) == sum(map(len, clips.values()))
