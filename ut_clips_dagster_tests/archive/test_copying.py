"""An archive that was copied is the archive, wherever it was and wherever it is now."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import permutations
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from ut_clips_dagster.archive import table_copying
from ut_clips_dagster.archive.copying import ArchiveCopy
from ut_clips_dagster.archive.documents import ClipFilesDocument, Cut, StoredClip
from ut_clips_dagster.archive.records import payload_of, seal
from ut_clips_dagster.cli.check_settings import PROBE_TABLE
from ut_clips_dagster.cli.copy import MODELS
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.media.documents import ClipMedia, ClipMediaDocument
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable, as_clip_metadata
from ut_clips_dagster.storage.s3 import S3Store
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.store import Store, crc32c_of
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable

KINDS = ["directory", "gcs", "s3"]
SESSIONS = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"]
CLIP = "33333333-3333-3333-3333-333333333333"
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
STUDY = "99999999-9999-9999-9999-999999999999"
CUES = [{"start_ms": 0, "end_ms": 900, "voice": "Ada", "text": "it's all there"}]


def make(kind: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if kind == "directory":
        return LocalStore(tmp_path / name)
    if kind == "gcs":
        client = request.getfixturevalue("gcs_emulator").storage_client()
        return GcsStore(client, request.getfixturevalue("gcs_bucket"), name)
    return S3Store(request.getfixturevalue("s3_emulator").client(), request.getfixturevalue("s3_bucket"), name)


def metadata(session_id: str, **values: Any) -> pd.DataFrame:
    return as_clip_metadata([{**dict.fromkeys(MetadataTable.schema.names), "session_id": session_id, **values}])


def fill_table(table: SessionTable, rows: list[dict[str, Any]]) -> None:
    table.rewrite(as_rows(table.schema, [{**dict.fromkeys(table.schema.names), **row} for row in rows]))


def recording(session_id: str, contents: dict[str, bytes]) -> tuple[bytes, bytes]:
    """The documents that name a session's clips, and its poster."""
    size = {path: {"size_bytes": len(content), "crc32c": crc32c_of([content])} for path, content in contents.items()}
    clip = {"clip_uuid": CLIP, "cut": Cut(time_start_ms=0, time_end_ms=1), "content_type": "video/mp4"}
    stored = [StoredClip(**clip, storage_path=p, downloaded_at=NOW, **size[p]) for p in size if p.endswith(".mp4")]
    poster = next(path for path in size if path.endswith(".jpg"))
    seen = ClipMedia(
        clip_uuid=CLIP,
        storage_path=stored[0].storage_path,
        poster_path=poster,
        poster_size_bytes=len(contents[poster]),
        poster_crc32c=crc32c_of([contents[poster]]),
        probed_at=NOW,
    )
    clip_files = ClipFilesDocument(session_id=session_id, files=tuple(stored))
    clip_media = ClipMediaDocument(session_id=session_id, files=(seen,))
    return seal(payload_of(clip_files)), seal(payload_of(clip_media))


def fill(store: Store) -> dict[str, bytes]:
    """An archive of two sessions with all that belongs to one; returns its files and documents."""
    contents: dict[str, bytes] = {}
    for session_id in SESSIONS:
        clips = f"clips/{STUDY}/{session_id}"
        for path, size in ((f"{clips}/clip.mp4", 300_000), (f"{clips}/clip/0-1.mp4", 1_000), (f"{clips}/clip.jpg", 50)):
            contents[path] = os.urandom(size)
            store.put_clip(path, [contents[path]], "video/mp4")
        for path in (f"{clips}/clip.vtt", f"sessions/{session_id}/t.vtt"):
            contents[path] = f"document {path}".encode()
        recorded = recording(session_id, {path: content for path, content in contents.items() if session_id in path})
        contents[f"sessions/{session_id}/clip_files.json"] = recorded[0]
        contents[f"sessions/{session_id}/clip_media.json"] = recorded[1]
        for path in (path for path in contents if session_id in path and not path.endswith((".mp4", ".jpg"))):
            store.update_document(path, lambda _, path=path: contents[path])  # type: ignore[misc]
    both = [{"session_id": session_id} for session_id in SESSIONS]
    fill_table(MetadataTable(store.uri), [{**row, "clip_name": "it's", "size_bytes": 2**40} for row in both])
    fill_table(MediaTable(store.uri), [{**row, "duration_s": 1.5} for row in both])
    fill_table(TranscriptsTable(store.uri), [{**row, "text": "it's", "cues": CUES} for row in both])
    path = f"discovery/{STUDY}.json"
    contents[path] = b"{}"
    store.update_document(path, lambda _: b"{}")
    return contents


def held(store: Store) -> dict[str, bytes]:
    tops = ("clips/", "sessions/", "discovery/")
    return {path: b"".join(store.read(path)) for top in tops for path in store.walk(top)}


def table_rows(store: Store) -> list[list[Any]]:
    frames = [kind(store.uri).read() for kind in (MetadataTable, MediaTable, TranscriptsTable)]
    return [frame.sort_values("session_id").astype(str).to_numpy().tolist() for frame in frames]


PAIRS = [("directory", "gcs"), ("s3", "directory"), ("directory", "directory")]
OTHER_PAIRS = [pytest.param(*pair, marks=pytest.mark.long) for pair in permutations(KINDS, 2) if pair not in PAIRS]


@pytest.mark.parametrize(("source_kind", "target_kind"), [*PAIRS, *OTHER_PAIRS])
def test_an_archive_is_copied_between_all_kinds_of_places(
    source_kind: str, target_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = make(source_kind, "old", request, tmp_path)
    target = make(target_kind, "new", request, tmp_path)
    contents = fill(source)

    copied = ArchiveCopy(source, target, MODELS).run()

    assert copied.is_whole
    assert (copied.sessions, copied.files, copied.documents, copied.skipped) == (2, 6, 9, 0)
    assert copied.bytes == sum(len(c) for path, c in contents.items() if path.endswith((".mp4", ".jpg")))
    assert copied.rows == {"clip_metadata": 2, "clip_media": 2, "clip_transcripts": 2}
    assert held(target) == contents == held(source)
    assert table_rows(target) == table_rows(source)

    again = ArchiveCopy(source, target, MODELS).run()
    assert (again.files, again.documents, again.skipped, again.is_whole) == (0, 0, 15, True)


@pytest.fixture
def old(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "old")
    fill(store)
    return store


@pytest.fixture
def new(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "new")


def test_a_second_copy_catches_up_with_what_was_written_meanwhile(old: LocalStore, new: LocalStore) -> None:
    ArchiveCopy(old, new, MODELS).run()
    document = f"sessions/{SESSIONS[0]}/t.vtt"
    old.update_document(document, lambda _: b"newer")
    old.put_clip(f"clips/{STUDY}/{SESSIONS[0]}/more.mp4", [b"more"], "video/mp4")
    MetadataTable(old.uri).replace(SESSIONS[0], metadata(SESSIONS[0], clip_name="newer"))
    copied = ArchiveCopy(old, new, MODELS).run()
    assert (copied.files, copied.documents, copied.is_whole) == (1, 1, True)
    assert held(new) == held(old)
    assert table_rows(new) == table_rows(old)


def test_a_document_that_changed_after_its_turn_is_named(old: LocalStore, new: LocalStore) -> None:
    """The rows that are copied after it are of the changed one."""
    document = f"sessions/{SESSIONS[0]}/notes.json"
    old.update_document(document, lambda _: b"older")

    def change(*_: object) -> None:
        old.update_document(document, lambda _: b"newer")

    copied = ArchiveCopy(old, new, MODELS).run(change)
    assert (copied.lacking, copied.is_whole) == ([f"sessions/{SESSIONS[0]}/"], False)
    assert ArchiveCopy(old, new, MODELS).run().is_whole
    assert held(new) == held(old)


def test_what_was_changed_at_the_new_place_is_left_and_named(old: LocalStore, new: LocalStore) -> None:
    """The archive was taken into use there: a late copy must not put it back."""
    ArchiveCopy(old, new, MODELS).run()
    document = f"sessions/{SESSIONS[0]}/t.vtt"
    new.update_document(document, lambda _: b"written at the new place")
    MetadataTable(new.uri).replace(SESSIONS[0], metadata(SESSIONS[0], clip_name="of the new place"))
    MetadataTable(new.uri).replace("3", metadata("3"))
    old.update_document(document, lambda _: b"written at the old place")
    copied = ArchiveCopy(old, new, MODELS).run()
    assert (copied.kept, copied.is_whole) == ([document], False)
    assert new.read_document(document) == b"written at the new place"
    names = MetadataTable(new.uri).read().set_index("session_id")["clip_name"]
    assert dict(names.fillna("")) == {SESSIONS[0]: "of the new place", SESSIONS[1]: "it's", "3": ""}


def test_what_a_run_commits_at_the_new_place_during_the_copy_stays(
    old: LocalStore, new: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, compare = MetadataTable(new.uri), table_copying._same
    table.replace(SESSIONS[0], metadata(SESSIONS[0]))
    seen: list[pa.Table] = []

    def commit_and_compare(some: pa.Table, others: pa.Table) -> bool:
        if not seen:
            table.replace("3", metadata("3"))
        seen.append(some)
        return compare(some, others)

    monkeypatch.setattr(table_copying, "_same", commit_and_compare)
    assert table_copying.copy_table(table.name, old.uri, new.uri) == 3
    assert sorted(table.read()["session_id"]) == [*SESSIONS, "3"]


def test_a_damaged_note_of_what_was_copied_is_as_good_as_none(old: LocalStore, new: LocalStore) -> None:
    ArchiveCopy(old, new, MODELS).run()
    new.update_document(f"copied/{SESSIONS[0]}.json", lambda _: b'{"x')
    changed, added = f"sessions/{SESSIONS[0]}/t.vtt", f"sessions/{SESSIONS[0]}/u.vtt"
    for path in (changed, added):
        old.update_document(path, lambda _: b"new")
    copied = ArchiveCopy(old, new, MODELS).run()
    assert (copied.kept, copied.documents, new.read_document(added)) == ([changed], 1, b"new")


def test_other_bytes_at_the_new_place_are_left_and_named(old: LocalStore, new: LocalStore) -> None:
    clip = f"clips/{STUDY}/{SESSIONS[0]}/clip.mp4"
    new.put_clip(clip, [b"other"], "video/mp4")
    copied = ArchiveCopy(old, new, MODELS).run()
    assert (copied.kept, copied.files) == ([clip], 5)
    assert b"".join(new.read(clip)) == b"other"


class Dying(LocalStore):
    """A place whose process ends at one of its writes."""

    writes = 0
    last = 10**6

    def _count(self) -> None:
        Dying.writes += 1
        if Dying.writes > Dying.last:
            raise KeyboardInterrupt

    def put_clip(self, path: str, chunks: Any, content_type: str) -> Any:
        self._count()
        return super().put_clip(path, chunks, content_type)

    def update_document(self, path: str, update: Callable[[bytes | None], bytes]) -> bytes:
        self._count()
        return super().update_document(path, update)


@pytest.mark.parametrize("last", range(18))
def test_a_copy_that_ends_at_any_write_is_gone_on_with_also_when_a_document_changed_since(
    old: LocalStore, new: LocalStore, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dying, "writes", 0)
    monkeypatch.setattr(Dying, "last", last)
    with pytest.raises(KeyboardInterrupt):
        ArchiveCopy(old, Dying(Path(new.uri)), MODELS).run()
    document = f"sessions/{SESSIONS[0]}/t.vtt"
    old.update_document(document, lambda _: b"changed")
    copied = ArchiveCopy(old, new, MODELS).run()
    assert copied.is_whole, copied
    assert held(new) == held(old)


def test_a_file_that_is_not_what_its_place_says_is_not_stored(
    s3_emulator: Any, s3_bucket: str, new: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = S3Store(s3_emulator.client(), s3_bucket, "old")
    fill(source)
    clip = f"clips/{STUDY}/{SESSIONS[0]}/clip.mp4"
    read = S3Store.read
    flipped = lambda self, path: (bytes([c[0] ^ 1]) + c[1:] if path == clip else c for c in read(self, path))  # noqa: E731
    monkeypatch.setattr(S3Store, "read", flipped)
    copied = ArchiveCopy(source, new, MODELS).run()
    assert [clip in text for text in copied.failed] == [True]
    assert new.size_bytes(clip) is None
    assert not copied.is_whole


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def make_unreadable(path: Path) -> None:
    """Also for root."""
    path.symlink_to(path.name)


CLIPS_OF_FIRST = f"clips/{STUDY}/{SESSIONS[0]}"


@pytest.mark.parametrize(
    ("path", "damage"),
    [
        (f"{CLIPS_OF_FIRST}/clip.mp4", flip),
        (f"{CLIPS_OF_FIRST}/clip.mp4", truncate),
        (f"{CLIPS_OF_FIRST}/clip.mp4", Path.unlink),
        (f"{CLIPS_OF_FIRST}/clip.jpg", flip),
        (f"{CLIPS_OF_FIRST}/unrecorded.mp4", Path.touch),
        (f"sessions/{SESSIONS[0]}/clip_files.json", truncate),
        (f"sessions/{SESSIONS[0]}/clip_media.json", flip),
        (f"{CLIPS_OF_FIRST}/unreadable.mp4", make_unreadable),
        (f"sessions/{SESSIONS[0]}/unreadable.vtt", make_unreadable),
    ],
)
def test_what_is_damaged_is_named_and_keeps_only_the_documents_and_rows_of_its_session_out(
    old: LocalStore, new: LocalStore, path: str, damage: Callable[[Path], None]
) -> None:
    whole = held(old)
    damage(Path(old.uri) / path)
    copied = ArchiveCopy(old, new, MODELS).run()
    assert [path in text for text in copied.failed] == [True], copied.failed
    assert (copied.is_whole, copied.failed_sessions, copied.lacking) == (False, {SESSIONS[0]}, [])
    later = {p for p in whole if SESSIONS[0] in p and not p.endswith((".mp4", ".jpg"))}
    assert held(new) == {p: content for p, content in whole.items() if p not in later | {path}}
    assert [rows[0][0] for rows in table_rows(new)] == SESSIONS[1:] * 3


@pytest.mark.parametrize(("every", "ends"), [(1, True), (2, False)])
def test_a_place_that_fails_ends_the_copy_and_single_sessions_do_not(
    old: LocalStore, new: LocalStore, every: int, ends: bool
) -> None:
    for number in range(50):
        clip = Path(old.uri) / f"clips/{STUDY}/session{number:02}/clip.mp4"
        clip.parent.mkdir()
        clip.write_bytes(b"" if number % every == 0 else b"clip")
    if ends:
        with pytest.raises(StorageError, match="So did the 20 sessions before; run it again"):
            ArchiveCopy(old, new, MODELS).run()
    else:
        assert len(ArchiveCopy(old, new, MODELS).run().failed) == 25


def test_what_is_of_no_session_is_copied_as_it_is(old: LocalStore, new: LocalStore) -> None:
    old.put_clip("clips/notes/by-hand/film.mp4", [b"film"], "video/mp4")
    old.update_document("sessions/by-hand/notes.txt", lambda _: b"notes")
    assert ArchiveCopy(old, new, MODELS).run().is_whole
    assert held(new) == held(old)


def test_what_check_settings_leaves_in_a_bucket_is_left_there(old: LocalStore, new: LocalStore) -> None:
    old.update_document(f"{PROBE_TABLE}/_delta_log/00000000000000000000.json", lambda _: b"{}")
    copied = ArchiveCopy(old, new, MODELS).run()
    assert (PROBE_TABLE in copied.rows, copied.is_whole) == (False, True)


def test_nothing_to_copy_is_said(old: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"There is no archive in .*none: nothing was copied"):
        ArchiveCopy(LocalStore(tmp_path / "none"), old, MODELS).run()


def test_a_table_keeps_its_comments_and_its_logs_discretion(old: LocalStore, new: LocalStore) -> None:
    ArchiveCopy(old, new, MODELS).run()
    log = "".join(path.read_text() for path in (Path(new.uri) / "clip_metadata" / "_delta_log").glob("*.json"))
    assert "it's" not in log
    schema = json.loads(next(json.loads(li)["metaData"]["schemaString"] for li in log.splitlines() if "metaData" in li))
    assert schema["fields"][0]["metadata"]["comment"] == "UUID of the session: the partition key"
