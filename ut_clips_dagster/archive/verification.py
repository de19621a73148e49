"""Compares documents, objects and rows of a session with each other. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from ut_clips_dagster.archive.documents import ClipListDocument, SessionRecord, StoredClip
from ut_clips_dagster.archive.records import CLIP_FILES, CLIP_LIST, CLIP_URLS, CLIPS, SESSION, Inspection
from ut_clips_dagster.archive.rows import NOT_TRIED, clip_metadata, same_rows
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.results_api.models import MALFORMED
from ut_clips_dagster.storage.store import Store, crc32c_of

Kind = Literal[
    "not stored",
    "object missing",
    "object differs",
    "object unreadable",
    "rows differ",
    "document damaged",
    "document missing",
    "document unreadable",
    "table unreadable",
]

VERIFY_AGAIN = "ut-clips verify --read-data"
GIVE_UP_AFTER = 20
"""Sessions that could not be read or copied one after another: then it is a place that fails, and not a file."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be, and the command that repairs it."""

    kind: Kind
    session_id: str
    what: str
    repair: str


def repair_of(session_id: str) -> str:
    """The command that mends a session without asking for what is stored."""
    return f"ut-clips repair --session {session_id}"


def session_differences(
    inspection: Inspection, found: pd.DataFrame | None, store: Store, *, read_data: bool
) -> Iterator[Difference]:
    """Everything that is wrong with one session.

    Args:
        inspection: its documents.
        found: its rows; None when the table cannot be read, which is a difference of its own.
        store: where its objects are.
        read_data: see `objects`.
    """
    record = inspection.record
    broken = list(documents(inspection, found))
    yield from broken
    yield from objects(record, store, read_data=read_data)
    if not broken:  # with a document lost, what is left says nothing of rows or of what is not stored
        yield from not_stored(record)
        if found is not None:
            yield from rows(record, found)


def not_stored(record: SessionRecord) -> Iterator[Difference]:
    """Listed clips without a file, and sessions without a listing."""
    archive = f"ut-clips archive --session {record.session_id}"
    if record.clip_list is None:
        yield Difference("not stored", record.session_id, "no listing of its clips is stored", archive)
    for entry in record.clip_list.malformed if record.clip_list else ():
        yield Difference("not stored", record.session_id, entry.reason, archive)
    for clip in record.missing:
        problem = record.clip_files.problem_of(clip.clip_uuid)
        reason = f": {problem.error}" if problem else ""
        what = f"clip {clip.clip_uuid} is listed but not stored{reason}"
        yield Difference("not stored", record.session_id, what, archive)


def documents(inspection: Inspection, found: pd.DataFrame | None) -> Iterator[Difference]:
    """Documents that are damaged, and missing ones that other documents or rows show to have been there."""
    record = inspection.record
    session_id = record.session_id
    for name in inspection.damaged:
        what = f"sessions/{session_id}/{name}.json is not what was written"
        yield Difference("document damaged", session_id, what, repair_of(session_id))
    for name, shown_by in lost_documents(inspection, found):
        if name not in inspection.damaged:
            what = f"sessions/{session_id}/{name}.json is missing or incomplete: {shown_by} show that it was there"
            yield Difference("document missing", session_id, what, repair_of(session_id))


def objects(record: SessionRecord, store: Store, *, read_data: bool) -> Iterator[Difference]:
    """Recorded files that are not in the store as recorded.

    Args:
        record: the session's documents.
        store: where the files are.
        read_data: read every byte; else ask the store for size and checksum (a directory keeps no checksum: it is
            read all the same).
    """
    for file in record.clip_files.files:
        if difference := check_object(file, store, read_data=read_data):
            kind, what = difference
            # what cannot be read may be whole: it is not given up for a disk or a network that is down
            repair = VERIFY_AGAIN if kind == "object unreadable" else repair_of(record.session_id)
            yield Difference(kind, record.session_id, what, repair)


def rows(record: SessionRecord, found: pd.DataFrame) -> Iterator[Difference]:
    """Rows of the table that are not what the documents say, or are there twice."""
    expected = clip_metadata(record)
    if same_rows(expected, found):
        return
    duplicates = int(found["clip_uuid"].duplicated().sum())
    detail = f", {duplicates} of them twice" if duplicates else ""
    yield Difference(
        "rows differ",
        record.session_id,
        f"the table holds {len(found)} rows{detail}; the documents make {len(expected)}, or with other values",
        repair_of(record.session_id),
    )


def unrecorded(store: Store, recorded: set[str]) -> list[str]:
    """Objects below `clips/` that no document names: a killed run left them, or a repair put another in their place.

    They are harmless: a clip whose bytes are there already is adopted, and nothing stored is overwritten or deleted.
    """
    return sorted(path for path in store.walk(CLIPS) if path not in recorded)


def check_object(file: StoredClip, store: Store, *, read_data: bool) -> tuple[Kind, str] | None:
    """What is wrong with one recorded file; see `objects`."""
    return check_bytes(store, file.storage_path, file.size_bytes, file.crc32c, read_data=read_data)


def check_bytes(store: Store, path: str, size_bytes: int, crc32c: str, *, read_data: bool) -> tuple[Kind, str] | None:
    """What is wrong with an object of which size and checksum are recorded; see `objects`."""
    try:
        size = store.size_bytes(path)
        if size is None:
            return "object missing", f"{path} is recorded as stored, but not there"
        if size != size_bytes:
            return "object differs", f"{path} has {size} bytes, recorded are {size_bytes}"
        found = crc32c_of(store.read(path)) if read_data else store.checksum(path)
    except StorageError as error:
        return "object unreadable", str(error)
    if found != crc32c:
        return "object differs", f"{path} has crc32c {found}, recorded is {crc32c}"
    return None


def lost_documents(inspection: Inspection, found: pd.DataFrame | None) -> Iterator[tuple[str, str]]:
    """Names of documents that must have been there, each with who shows it."""
    record, present = inspection.record, inspection.present
    listing: ClipListDocument | None = record.clip_list
    seen = found if found is not None else pd.DataFrame(columns=["session_started_at", *_SHOWS])
    if SESSION not in present and (_any(seen, "session_started_at") or (listing and not listing.has_video)):
        yield SESSION, "the session's rows or listing"
    if CLIP_LIST not in present and (record.clip_files.files or record.clip_urls.clips or len(seen)):
        yield CLIP_LIST, "its rows or other documents"
    generated = {generation.clip_uuid for generation in record.clip_urls.clips}
    if {file.clip_uuid for file in record.clip_files.files} - generated or (
        CLIP_URLS not in present and _any(seen, "generation_attempts")
    ):
        yield CLIP_URLS, "files and rows of its clips"
    tried = seen["error"].notna() & (seen["error"] != NOT_TRIED) & ~_malformed(seen["error"])
    if CLIP_FILES not in present and (_any(seen, "storage_path") or bool(tried.any())):
        yield CLIP_FILES, "the session's rows"


_SHOWS = ("generation_attempts", "error", "storage_path")


def _malformed(error: pd.Series) -> pd.Series:
    return error.str.startswith(MALFORMED).fillna(value=False).astype(bool)


def _any(rows: pd.DataFrame, column: str) -> bool:
    return bool(rows[column].notna().any())
