"""The `clip_media` table: what each stored clip's file is, read off the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ut_clips_dagster.storage.columns import TIMESTAMP, column, to_pandas
from ut_clips_dagster.storage.session_table import SessionTable

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and not needed by `ut-clips sql`

SCHEMA = pa.schema(
    [
        column("session_id", pa.string(), "UUID of the session: the partition key"),
        column("clip_uuid", pa.string(), "UUID of the clip"),
        column("storage_path", pa.string(), "path of the file that was looked at, below the archive's root"),
        column("duration_s", pa.float64(), "length of the file, in seconds"),
        column("width", pa.int64(), "width of the picture, in pixels"),
        column("height", pa.int64(), "height of the picture, in pixels"),
        column("frame_rate", pa.float64(), "average number of pictures per second"),
        column("video_codec", pa.string(), "codec of the picture, such as h264"),
        column("audio_codec", pa.string(), "codec of the sound, such as aac"),
        column("has_audio_track", pa.bool_(), "whether the file holds a sound track"),
        column("poster_path", pa.string(), "path of a still picture (JPEG) below the archive's root"),
        column("problem", pa.string(), "what is wrong with the file, in words"),
        column("probed_at", TIMESTAMP, "when the file was looked at, UTC"),
    ]
)


class MediaTable(SessionTable):
    """See `SessionTable`."""

    name = "clip_media"
    schema = SCHEMA

    def problems(self) -> pd.DataFrame:
        """The clips with whose files something is wrong: session_id, clip_uuid, problem."""
        columns = ["session_id", "clip_uuid", "problem"]
        import pyarrow.dataset as ds

        return to_pandas(self.columns(None, columns, ds.field("problem").is_valid()))

    def paths(self, session_ids: Sequence[str] | None) -> pa.ChunkedArray:
        """The files of these sessions (of all when None) that were looked at."""
        return self.columns(session_ids, ["storage_path"])["storage_path"]
