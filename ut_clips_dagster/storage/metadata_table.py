"""The `clip_metadata` table: one row per clip, whatever its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ut_clips_dagster.storage.columns import TIMESTAMP, as_rows, column, to_pandas
from ut_clips_dagster.storage.session_table import SessionTable

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and not needed by `ut-clips sql`

TABLE = "clip_metadata"
SCHEMA = pa.schema(
    [
        column("session_id", pa.string(), "UUID of the session: the partition key"),
        column("study_uuid", pa.string(), "UUID of the test the session belongs to"),
        column("clip_uuid", pa.string(), "UUID of the clip"),
        column("clip_name", pa.string(), "name the researcher gave"),
        column("clip_description", pa.string(), "description the researcher gave"),
        column("time_start_ms", pa.int64(), "start of the clip, ms from the session's start"),
        column("time_end_ms", pa.int64(), "end of the clip, ms from the session's start"),
        column("video_uuid", pa.string(), "UUID of the session's video"),
        column("has_audio", pa.bool_(), "whether the clip has sound"),
        column("has_camera", pa.bool_(), "whether the clip shows the participant"),
        column("status", pa.string(), "STORED, GENERATING, ERROR or MISSING"),
        column("error", pa.string(), "why the clip is not stored, or not understood as UserTesting lists it now"),
        column("listed", pa.bool_(), "whether the newest listing holds the clip; false: deleted at UserTesting since"),
        column("storage_path", pa.string(), "path of the clip's file below the archive's root"),
        column("size_bytes", pa.int64(), "size of the file"),
        column("crc32c", pa.string(), "Castagnoli CRC of the file, base64 of the big-endian value"),
        column("content_type", pa.string(), "MIME type as the media host told it"),
        column("downloaded_at", TIMESTAMP, "when the file was stored, UTC"),
        column("first_listed_at", TIMESTAMP, "when a listing first held the clip, UTC"),
        column("listed_at", TIMESTAMP, "when a listing last held the clip, UTC"),
        column("generation_attempts", pa.int64(), "requests until the link was issued or they were used up"),
        column("waited_s", pa.float64(), "seconds from the first request to the link"),
        column("session_started_at", TIMESTAMP, "start of the session, UTC"),
        column("session_finished_at", TIMESTAMP, "end of the session, UTC"),
    ]
)


def as_clip_metadata(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a DataFrame with the table's columns and nullable dtypes."""
    return as_rows(SCHEMA, rows)


class MetadataTable(SessionTable):
    """See `SessionTable`."""

    name = TABLE
    schema = SCHEMA
    statistics = ("session_id", "study_uuid", "status", "listed")

    def unfinished(self) -> pd.DataFrame:
        """The listed clips that are not stored or not understood: session_id, clip_uuid, status, error."""
        columns = ["session_id", "clip_uuid", "status", "error"]
        import pyarrow.dataset as ds

        condition = ((ds.field("status") != "STORED") | ds.field("error").is_valid()) & ds.field("listed")
        return to_pandas(self.columns(None, columns, condition))

    def stored(
        self, session_ids: Sequence[str] | None, columns: Sequence[str] = ("session_id", "storage_path")
    ) -> pa.Table:
        """The stored clips of these sessions (of all when None)."""
        import pyarrow.dataset as ds

        return self.columns(session_ids, list(columns), ds.field("status") == "STORED")
