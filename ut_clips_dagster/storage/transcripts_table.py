"""The `clip_transcripts` table: what is said in each clip."""

from __future__ import annotations

import pyarrow as pa

from ut_clips_dagster.storage.columns import column
from ut_clips_dagster.storage.session_table import SessionTable

CUE = pa.struct(
    [
        column("start_ms", pa.int64(), "ms from the clip's start"),
        column("end_ms", pa.int64(), "ms from the clip's start"),
        column("voice", pa.string(), "who speaks, where the transcript says so"),
        column("text", pa.string(), "what is said"),
    ]
)
SCHEMA = pa.schema(
    [
        column("session_id", pa.string(), "UUID of the session: the partition key"),
        column("clip_uuid", pa.string(), "UUID of the clip"),
        column("text", pa.string(), "all that is said in the clip, `voice: ` in front where a cue names one"),
        column("cues", pa.list_(CUE), "the cues, in their order"),
        column("words", pa.int64(), "number of words in `text`"),
    ]
)


class TranscriptsTable(SessionTable):
    """See `SessionTable`."""

    name = "clip_transcripts"
    schema = SCHEMA
