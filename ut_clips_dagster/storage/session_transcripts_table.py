"""The `session_transcripts` table: what became of asking for each session's transcript.

A row per session that was asked for, so that what is lacking is known without reading every session's document.
"""

from __future__ import annotations

import pyarrow as pa

from ut_clips_dagster.storage.columns import TIMESTAMP, column
from ut_clips_dagster.storage.session_table import SessionTable

SCHEMA = pa.schema(
    [
        column("session_id", pa.string(), "UUID of the session: the partition key"),
        column("status", pa.string(), "STORED, or ABSENT: the API has none (yet)"),
        column("fetched_at", TIMESTAMP, "when it was last asked for, UTC"),
        column("ask_again_at", TIMESTAMP, "when it is asked for again, UTC; null: never"),
        column("size_bytes", pa.int64(), "size of transcript.vtt"),
        column("crc32c", pa.string(), "Castagnoli CRC of transcript.vtt, base64 of the big-endian value"),
        column("cues", pa.int64(), "cues that can be read"),
        column("problem", pa.string(), "what is wrong with the transcript, in words"),
        column("clips_cut", pa.list_(pa.string()), "files of clips that it is cut to, below the archive's root"),
    ]
)


class SessionTranscriptsTable(SessionTable):
    """See `SessionTable`."""

    name = "session_transcripts"
    schema = SCHEMA
