"""Names, descriptions and schemas of the assets."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
from dagster import AssetCheckSpec, AssetSpec, TableColumn, TableSchema

from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_LIST, CLIP_METADATA, CLIP_URLS, USERTESTING_SESSIONS
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.storage.metadata_table import SCHEMA

GROUP = "usertesting_clips"
OWNERS = ["team:research-data"]
IO_MANAGER = "clip_metadata_io_manager"

COLUMN_DESCRIPTIONS = {
    "session_id": "UUID of the session: the partition key",
    "study_uuid": "UUID of the test the session belongs to",
    "clip_uuid": "UUID of the clip",
    "clip_name": "name the researcher gave",
    "clip_description": "description the researcher gave",
    "time_start_ms": "start of the clip, ms from the session's start",
    "time_end_ms": "end of the clip, ms from the session's start",
    "video_uuid": "UUID of the session's video",
    "has_audio": "whether the clip has sound",
    "has_camera": "whether the clip shows the participant",
    "status": "STORED, GENERATING, ERROR or MISSING",
    "error": "why the clip is not stored",
    "listed": "whether the newest listing holds the clip; false: deleted at UserTesting since",
    "storage_path": "path of the clip's file below the archive's root",
    "size_bytes": "size of the file",
    "crc32c": "Castagnoli CRC of the file, base64 of the big-endian value",
    "content_type": "MIME type as the media host told it",
    "downloaded_at": "when the file was stored, UTC",
    "first_listed_at": "when a listing first held the clip, UTC",
    "listed_at": "when a listing last held the clip, UTC",
    "generation_attempts": "requests of the clip until its link was issued or they were used up",
    "waited_s": "seconds from the first request to the link",
    "session_started_at": "start of the session, UTC",
    "session_finished_at": "end of the session, UTC",
}


def column_schema(schema: pa.Schema = SCHEMA) -> TableSchema:
    """The metadata table's columns as Dagster shows them."""
    return TableSchema([TableColumn(f.name, str(f.type), COLUMN_DESCRIPTIONS.get(f.name)) for f in schema])


_spec = partial(AssetSpec, partitions_def=sessions, group_name=GROUP, owners=OWNERS)
"""What all five assets have in common."""
_clip_spec = partial(_spec, skippable=True)
"""Of the multi_asset: a run may materialize some sessions, some assets, or nothing."""

usertesting_sessions = _spec(
    USERTESTING_SESSIONS,
    description=(
        "Completed sessions at UserTesting. The `new_sessions` sensor finds them, adds a partition for each and logs "
        "one event per session found."
    ),
    kinds={"usertesting"},
)

clip_specs = [
    _clip_spec(
        CLIP_LIST,
        deps=[USERTESTING_SESSIONS],
        description="The session's clips as the Results API lists them now. One request per session.",
        kinds={"usertesting", "json"},
    ),
    _clip_spec(
        CLIP_URLS,
        deps=[CLIP_LIST],
        description=(
            "Generation of each clip: attempts, waiting time, validity of the link. The link itself is used at once "
            "and never stored: it dies after 15 minutes."
        ),
        kinds={"usertesting", "json"},
    ),
    _clip_spec(
        CLIP_FILES,
        deps=[CLIP_URLS],
        description=(
            "The clips' files. Materialized means: every clip of the listing named by `listed_at` is stored and "
            "verified. Nothing less is recorded as done."
        ),
        kinds={"mp4", "googlecloud"},
    ),
    _clip_spec(
        CLIP_METADATA,
        deps=[CLIP_FILES],
        description=(
            "One row per clip, whatever its status: what an analyst queries. Load it as a pandas DataFrame through "
            f"the `{IO_MANAGER}`, or with `ut-clips sql`."
        ),
        metadata={"dagster/column_schema": column_schema()},
        kinds={"pandas", "deltalake", "table"},
    ).with_io_manager_key(IO_MANAGER),
]

check_specs = [
    AssetCheckSpec(
        "every_listed_clip_stored", asset=CLIP_FILES, description="Every clip of the newest listing has a file."
    ),
    AssetCheckSpec(
        "objects_intact",
        asset=CLIP_FILES,
        description="Every recorded file is in the store, with the recorded size and crc32c.",
    ),
    AssetCheckSpec(
        "rows_agree_with_documents",
        asset=CLIP_METADATA,
        description="Rows are unique and say what the session's documents say.",
    ),
]
