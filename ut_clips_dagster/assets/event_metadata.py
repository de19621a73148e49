"""What a person sees of a materialization in the Dagster UI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from dagster import (
    MetadataValue,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
    TimestampMetadataValue,
)

from ut_clips_dagster.archive.documents import ClipListDocument, ListedClip, StoredClip
from ut_clips_dagster.archive.rows import clip_metadata
from ut_clips_dagster.archive.session_work import SessionResult
from ut_clips_dagster.assets.specs import column_schema
from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_LIST, CLIP_METADATA, CLIP_URLS
from ut_clips_dagster.plain_text import one_line

MAX_TABLE_ROWS = 50
MAX_CELL = 200
MAX_NAME = 60
"""Letters shown of a clip's name or description: the UI breaks no line, and the other columns should be seen."""

_NUMBERS = {int: "int", float: "float"}

EventMetadata = Mapping[str, Any]


def event_metadata(result: SessionResult, archive_uri: str, gallery_url: str = "") -> dict[str, EventMetadata]:
    """Metadata of each asset's materialization for one session, by asset name; a link to its page in the gallery."""
    listing = result.record.clip_list
    if listing is None:
        return {}
    return {
        CLIP_LIST: _clip_list(result, listing),
        CLIP_URLS: _clip_urls(result, listing),
        CLIP_FILES: {**_clip_files(result, listing, archive_uri), **_gallery(result, gallery_url)},
        CLIP_METADATA: {**_clip_metadata(result, archive_uri), **_gallery(result, gallery_url)},
    }


def _clip_list(result: SessionResult, listing: ClipListDocument) -> EventMetadata:
    rows = [
        (
            short(c.name),
            short(c.description),
            _span(c),
            "yes" if c.has_audio else "no",
            "yes" if c.has_camera else "no",
        )
        for c in listing.listed
    ]
    gone = len(listing.clips) - len(listing.listed)
    return {
        "clips": len(listing.listed),
        "clips_deleted_upstream": gone,
        "clips_malformed": len(listing.malformed),
        "has_video": listing.has_video,
        "study_uuid": listing.study_uuid,
        "listed_at": _at(listing),
        "clip_table": table(("clip", "description", "time", "audio", "camera"), rows),
        "from_documents": result.from_documents,
    }


def _clip_urls(result: SessionResult, listing: ClipListDocument) -> EventMetadata:
    generations = [(clip, result.record.clip_urls.of(clip)) for clip in listing.listed]
    rows = [
        (
            short(clip.name),
            str(g.attempts),
            f"{g.waited_s:.1f}",
            f"{g.issued_at:%Y-%m-%d %H:%M:%S}" if g.issued_at else "never",
            f"{g.expires_at:%H:%M:%S}" if g.expires_at else "",
        )
        for clip, g in generations
        if g
    ]
    return {
        "clips": len(rows),
        "requests": sum(g.attempts for _, g in generations if g),
        "waited_s_max": max((g.waited_s for _, g in generations if g), default=0.0),
        "generation_table": table(("clip", "requests", "waited_s", "issued_at (UTC)", "expires_at"), rows),
    }


def _clip_files(result: SessionResult, listing: ClipListDocument, archive_uri: str) -> EventMetadata:
    files = [(clip, result.record.clip_files.of(clip)) for clip in listing.listed]
    stored = [(clip, f) for clip, f in files if f]
    where = f"clips/{listing.study_uuid}/{result.session_id}"
    rows = [(short(clip.name), _span(clip), _size(f.size_bytes), _below(f, where)) for clip, f in stored]
    return {
        "clips": len(stored),
        "size_bytes": sum(f.size_bytes for _, f in stored),
        "clips_stored_in_this_run": result.clips_stored,
        "bytes_stored_in_this_run": result.bytes_stored,
        "requests_in_this_run": result.requests,
        "took_s": result.took_s,
        "listed_at": _at(listing),
        "dagster/uri": f"{archive_uri}/{where}",
        "clip_table": table(("clip", "time", "size", "file"), rows),
    }


def _clip_metadata(result: SessionResult, archive_uri: str) -> EventMetadata:
    rows = clip_metadata(result.record)
    columns = ["clip_name", "status", "listed", "size_bytes", "error"]
    cells = [["" if pd.isna(v) else v for v in row] for row in rows[columns].itertuples(index=False)]
    cells = [[short(name), *rest] for name, *rest in cells]
    return {
        "dagster/partition_row_count": len(rows),
        "dagster/column_schema": column_schema(),
        "dagster/table_name": "clip_metadata",
        "dagster/storage_kind": "deltalake",
        "dagster/uri": f"{archive_uri}/clip_metadata",
        "clips_stored": int((rows["status"] == "STORED").sum()),
        "clips_not_stored": int(((rows["status"] != "STORED") & rows["listed"]).sum()),
        "preview": table(tuple(columns), cells),
    }


def _gallery(result: SessionResult, url: str) -> EventMetadata:
    return {"gallery": MetadataValue.url(f"{url}/sessions/{result.session_id}")} if url else {}


def _at(listing: ClipListDocument) -> TimestampMetadataValue:
    return MetadataValue.timestamp(listing.listed_at)


def _below(file: StoredClip, directory: str) -> str:
    return file.storage_path.removeprefix(f"{directory}/")


def short(told: str | None) -> str:
    """A stranger's name as a table shows it."""
    return one_line(told or "", MAX_NAME)


def _span(clip: ListedClip) -> str:
    return f"{_clock(clip.cut.time_start_ms)}-{_clock(clip.cut.time_end_ms)}"


def _clock(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    return f"{seconds // 60}:{seconds % 60:02d}"


def _size(size_bytes: int) -> str:
    kilobyte = 1000
    return f"{size_bytes / kilobyte:,.1f} kB" if size_bytes < kilobyte**2 else f"{size_bytes / kilobyte**2:,.1f} MB"


def unmarked(told: str) -> str:
    """A text for where the UI reads markdown and nothing else can be given: the description of an asset check.

    What could begin a picture, a link or HTML is escaped.
    """
    return re.sub(r"([\\\[\]<!`])", r"\\\1", told)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> TableMetadataValue:
    """Rows as metadata of an event: the UI shows every cell as plain text, where markdown would fetch pictures.

    At most `MAX_TABLE_ROWS` rows of cells of at most `MAX_CELL` letters, as Dagster keeps every event. Columns of
    numbers stay numbers.
    """
    kinds = [_NUMBERS.get(type(cell), "string") for cell in (rows[0] if rows else [""] * len(columns))]
    cells = [[_cell(cell) for cell in row] for row in rows[:MAX_TABLE_ROWS]]
    if len(rows) > MAX_TABLE_ROWS:
        cells.append([f"… and {len(rows) - MAX_TABLE_ROWS} more", *[""] * (len(columns) - 1)])
    return MetadataValue.table(
        records=[TableRecord(dict(zip(columns, line, strict=True))) for line in cells],
        schema=TableSchema(columns=[TableColumn(*column) for column in zip(columns, kinds, strict=True)]),
    )


def _cell(cell: object) -> str | int | float:
    return cell if type(cell) in _NUMBERS else one_line(str(cell), MAX_CELL)  # type: ignore[return-value]
