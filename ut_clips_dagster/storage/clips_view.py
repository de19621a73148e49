"""The view `clips`: one row per clip with all that is known of it, joined from the archive's three tables.

Its SQL stands here once, for `ut-clips sql`, the gallery, exports and the warehouse.
"""

from __future__ import annotations

import pyarrow as pa

from ut_clips_dagster.storage import media_table, metadata_table, transcripts_table
from ut_clips_dagster.storage.columns import comment_of

VIEW = "clips"
METADATA, MEDIA, TRANSCRIPTS = "clip_metadata", "clip_media", "clip_transcripts"
TABLES: dict[str, pa.Schema] = {
    METADATA: metadata_table.SCHEMA,
    MEDIA: media_table.SCHEMA,
    TRANSCRIPTS: transcripts_table.SCHEMA,
}
"""The tables that it joins; one that was never written counts as empty."""
_KEY = ("session_id", "clip_uuid")
_OF_MEDIA = tuple(f for f in media_table.SCHEMA if f.name not in (*_KEY, "storage_path"))
_OF_TRANSCRIPTS = tuple(f for f in transcripts_table.SCHEMA if f.name not in _KEY)
SCHEMA = pa.schema([*metadata_table.SCHEMA, *_OF_MEDIA, *_OF_TRANSCRIPTS])
"""The view's columns, each with its comment: those of `clip_metadata`, then what the other two tables add."""
COMMENT = (
    "One row per clip: clip_metadata, with the facts of its stored file (clip_media) and what is said in it "
    "(clip_transcripts), null where they are not known."
)


def view_sql(metadata: str = METADATA, media: str = MEDIA, transcripts: str = TRANSCRIPTS) -> str:
    """The view's `select`, in SQL that DuckDB and BigQuery both read.

    A clip's media facts are those of the file that its row names: after a new cut, the old file's facts are not shown.

    Args:
        metadata: name of the table clip_metadata, as the engine knows it, quoted if need be.
        media: the same of clip_media.
        transcripts: the same of clip_transcripts.
    """
    columns = [f"c.{field.name}" for field in metadata_table.SCHEMA]
    columns += [f"m.{field.name}" for field in _OF_MEDIA]
    columns += [f"t.{field.name}" for field in _OF_TRANSCRIPTS]
    return (
        f"SELECT {', '.join(columns)} FROM {metadata} AS c "  # noqa: S608 - names of our own
        f"LEFT JOIN {media} AS m ON m.session_id = c.session_id AND m.clip_uuid = c.clip_uuid "
        "AND m.storage_path = c.storage_path "
        f"LEFT JOIN {transcripts} AS t ON t.session_id = c.session_id AND t.clip_uuid = c.clip_uuid"
    )


def comments() -> dict[str, str]:
    """What each of the view's columns says, by its name."""
    return {field.name: comment_of(field) or "" for field in SCHEMA}
