"""Names, descriptions and schemas of the assets."""

from __future__ import annotations

from functools import partial

import pyarrow as pa
from dagster import AssetCheckSpec, AssetSpec, TableColumn, TableSchema

from ut_clips_dagster.known_sessions import (
    CLIP_FILES,
    CLIP_LIST,
    CLIP_MEDIA,
    CLIP_METADATA,
    CLIP_URLS,
    USERTESTING_SESSIONS,
)
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.storage.columns import comment_of
from ut_clips_dagster.storage.media_table import SCHEMA as MEDIA_SCHEMA
from ut_clips_dagster.storage.metadata_table import SCHEMA

GROUP = "usertesting_clips"
OWNERS = ["team:research-data"]
IO_MANAGER = "clip_metadata_io_manager"


def column_schema(schema: pa.Schema = SCHEMA) -> TableSchema:
    """A table's columns as Dagster shows them."""
    return TableSchema([TableColumn(f.name, str(f.type), comment_of(f)) for f in schema])


_spec = partial(AssetSpec, partitions_def=sessions, group_name=GROUP, owners=OWNERS)
"""What all assets have in common."""
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

clip_media_spec = _clip_spec(
    CLIP_MEDIA,
    deps=[CLIP_FILES],
    description=(
        "What the stored clips' files are, read off the files: length, picture, sound, a poster beside each, and in "
        "words what is wrong. One row per clip in the table `clip_media`. It sends no request, and changes no clip."
    ),
    metadata={"dagster/column_schema": column_schema(MEDIA_SCHEMA)},
    kinds={"jpeg", "deltalake", "table"},
)

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

media_check_spec = AssetCheckSpec(
    "media_as_listed",
    asset=CLIP_MEDIA,
    description="Each clip's file opens, shows a picture, and is as long and has the sound that the listing says.",
)
