"""The metadata table's rows, made from a session's documents by a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from ut_clips_dagster.archive.documents import ClipListDocument, ListedClip, SessionRecord
from ut_clips_dagster.storage.metadata_table import SCHEMA, as_clip_metadata

NOT_TRIED = "not tried yet"
STORED = "STORED"


def clip_metadata(record: SessionRecord) -> pd.DataFrame:
    """One row per clip the session ever listed, with the contract's columns and dtypes (see the README).

    STORED means the file of the clip's present cut (of its last one, when it is no longer listed) is there. A clip
    whose entry is malformed has a row, too, as far as it is known, with the reason in `error`.
    """
    return all_clip_metadata([record])


def all_clip_metadata(records: Iterable[SessionRecord]) -> pd.DataFrame:
    """The same of several sessions."""
    listings = ((record, record.clip_list) for record in records)
    return as_clip_metadata([row for record, listing in listings if listing for row in _rows(record, listing)])


def same_rows(expected: pd.DataFrame, found: pd.DataFrame) -> bool:
    """Whether two sets of rows say the same, in whatever order."""
    return not differing_sessions(expected, found)


def differing_sessions(expected: pd.DataFrame, found: pd.DataFrame) -> set[str]:
    """Sessions for which two sets of rows do not say the same, in whatever order."""
    numbers = expected["session_id"].value_counts().sub(found["session_id"].value_counts(), fill_value=0)
    unpaired = pd.concat([expected, found[list(expected.columns)]]).drop_duplicates(keep=False)
    return {*numbers.index[numbers != 0], *unpaired["session_id"]}


def _rows(record: SessionRecord, listing: ClipListDocument) -> Iterator[dict[str, Any]]:
    unclear = {entry.uuid: entry.reason for entry in listing.malformed}
    for clip in listing.clips:
        row = _row(record, listing.study_uuid, clip)
        yield {**row, "error": unclear[clip.clip_uuid]} if clip.clip_uuid in unclear else row
    known = {clip.clip_uuid for clip in listing.clips}
    for entry in listing.malformed:
        if entry.uuid not in known:
            yield {
                **dict.fromkeys(SCHEMA.names),
                "session_id": record.session_id,
                "study_uuid": listing.study_uuid,
                "clip_uuid": entry.uuid,
                "status": "MISSING",
                "error": entry.reason,
                "listed": True,
                "first_listed_at": listing.listed_at,
                "listed_at": listing.listed_at,
                "session_started_at": record.session.started_at if record.session else None,
                "session_finished_at": record.session.finished_at if record.session else None,
            }


def _row(record: SessionRecord, study_uuid: str, clip: ListedClip) -> dict[str, Any]:
    files = record.clip_files
    stored = record.stored(clip)
    problem = files.problem_of(clip.clip_uuid)
    generation = record.clip_urls.of(clip)
    return {
        "session_id": record.session_id,
        "study_uuid": study_uuid,
        "clip_uuid": clip.clip_uuid,
        "clip_name": clip.name,
        "clip_description": clip.description,
        "time_start_ms": clip.cut.time_start_ms,
        "time_end_ms": clip.cut.time_end_ms,
        "video_uuid": clip.video_uuid,
        "has_audio": clip.has_audio,
        "has_camera": clip.has_camera,
        "status": STORED if stored else problem.status if problem else "MISSING",
        "error": None if stored else problem.error if problem else NOT_TRIED,
        "listed": clip.listed,
        "storage_path": stored.storage_path if stored else None,
        "size_bytes": stored.size_bytes if stored else None,
        "crc32c": stored.crc32c if stored else None,
        "content_type": stored.content_type if stored else None,
        "downloaded_at": stored.downloaded_at if stored else None,
        "first_listed_at": clip.first_listed_at,
        "listed_at": clip.listed_at,
        "generation_attempts": generation.attempts if generation else None,
        "waited_s": generation.waited_s if generation else None,
        "session_started_at": record.session.started_at if record.session else None,
        "session_finished_at": record.session.finished_at if record.session else None,
    }
