"""Compares documents, objects and rows of a session with each other. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from ut_clips_dagster.archive.documents import SessionRecord, StoredClip
from ut_clips_dagster.archive.rows import clip_metadata, same_rows
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.store import Store, crc32c_of

Kind = Literal["not stored", "object missing", "object differs", "object unreadable", "rows differ", "document damaged"]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be, and the command that repairs it."""

    kind: Kind
    session_id: str
    what: str
    repair: str


def not_stored(record: SessionRecord) -> Iterator[Difference]:
    """Listed clips without a file."""
    for clip in record.missing:
        problem = record.clip_files.problem_of(clip.clip_uuid)
        reason = f": {problem.error}" if problem else ""
        yield Difference(
            "not stored",
            record.session_id,
            f"clip {clip.clip_uuid} is listed but not stored{reason}",
            f"ut-clips archive --session {record.session_id}",
        )


def objects(record: SessionRecord, store: Store, *, read_data: bool) -> Iterator[Difference]:
    """Recorded files that are not in the store as recorded.

    Args:
        record: the session's documents.
        store: where the files are.
        read_data: read every byte; else ask the store for size and checksum (a directory keeps no checksum: it is
            read all the same).
    """
    for file in record.clip_files.files:
        difference = _object(file, store, read_data=read_data)
        if difference:
            kind, what = difference
            yield Difference(kind, record.session_id, what, f"ut-clips repair --session {record.session_id}")


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
        f"ut-clips repair --session {record.session_id}",
    )


def _object(file: StoredClip, store: Store, *, read_data: bool) -> tuple[Kind, str] | None:
    try:
        size = store.size_bytes(file.storage_path)
        if size is None:
            return "object missing", f"{file.storage_path} is recorded as stored, but not there"
        if size != file.size_bytes:
            return "object differs", f"{file.storage_path} has {size} bytes, recorded are {file.size_bytes}"
        crc32c = crc32c_of(store.read(file.storage_path)) if read_data else store.checksum(file.storage_path)
    except StorageError as error:
        return "object unreadable", str(error)
    if crc32c != file.crc32c:
        return "object differs", f"{file.storage_path} has crc32c {crc32c}, recorded is {file.crc32c}"
    return None
