"""`clip_transcripts`: what is said in each clip, cut from the session's transcript without any request."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from dagster import (
    AssetCheckSpec,
    AssetExecutionContext,
    AssetSpec,
    multi_asset,
)

from ut_clips_dagster.assets.event_metadata import short, table
from ut_clips_dagster.assets.follow_on import BACKFILL, FollowOn, Problems, RunEvent, materialize_each
from ut_clips_dagster.assets.session_transcripts import NAME as SESSION_TRANSCRIPTS
from ut_clips_dagster.assets.specs import GROUP, OWNERS, column_schema
from ut_clips_dagster.known_sessions import CLIP_FILES
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.run_queue import FOLLOW_ON_POOL, OURS
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.transcripts_table import SCHEMA, TranscriptsTable
from ut_clips_dagster.transcripts.cutter import Cutting, cut_session
from ut_clips_dagster.transcripts.lacking import without_cuts
from ut_clips_dagster.transcripts.shelf import TranscriptShelf

NAME = "clip_transcripts"
ONE_VIDEO = AssetCheckSpec(
    "clips_of_one_video",
    asset=NAME,
    description="The session's clips are all cut from the one video it has a transcript of.",
)


@multi_asset(
    name=NAME,
    specs=[
        AssetSpec(
            NAME,
            deps=[SESSION_TRANSCRIPTS, CLIP_FILES],
            description=(
                "The session's transcript cut to its stored clips: `<clip>.vtt` beside each clip's file, and one row "
                "per clip. No request. A clip that is cut anew is cut anew here, too."
            ),
            metadata={"dagster/column_schema": column_schema(SCHEMA)},
            kinds={"vtt", "deltalake", "table"},
            partitions_def=sessions,
            group_name=GROUP,
            owners=OWNERS,
            skippable=True,
        )
    ],
    check_specs=[ONE_VIDEO],
    backfill_policy=BACKFILL,
    pool=FOLLOW_ON_POOL,
    op_tags=OURS,
)
def clip_transcripts(context: AssetExecutionContext, archive: ArchiveResource) -> Iterator[RunEvent]:
    """Cut the transcripts of the sessions of this run."""
    shelf, records = TranscriptShelf(archive.store()), archive.records()

    def make(session_id: str) -> Mapping[str, Any]:
        cutting = cut_session(shelf, records.read(session_id))
        if cutting.made.videos > 1:
            context.log.warning(f"Session {session_id}: {_several(cutting.made.videos)}")
        return _metadata(shelf, cutting)

    yield from materialize_each(context, NAME, make, (ONE_VIDEO, lambda: _problems(archive.table(), shelf.clips_table)))
    shelf.clips_table.compact()
    shelf.table.compact()


def _metadata(shelf: TranscriptShelf, cutting: Cutting) -> Mapping[str, Any]:
    rows = cutting.made.rows
    shown = [(short(cutting.names.get(row["clip_uuid"])), len(row["cues"]), row["words"]) for row in rows]
    return {
        "dagster/partition_row_count": len(rows),
        "dagster/table_name": NAME,
        "dagster/storage_kind": "deltalake",
        "dagster/uri": f"{shelf.store.uri}/{NAME}",
        "clips": len(rows),
        "cues": sum(len(row["cues"]) for row in rows),
        "words": sum(row["words"] for row in rows),
        "videos": cutting.made.videos,
        "clip_table": table(("clip", "cues", "words"), shown),
        **({"problem": cutting.problem} if cutting.problem else {}),
    }


def _problems(metadata: MetadataTable, cut: TranscriptsTable) -> Problems:
    """Sessions whose transcript is cut to clips of several videos; from the tables alone, whatever their number."""
    clips = metadata.stored(None, ("session_id", "video_uuid"))
    clips = clips.filter(pc.is_in(clips["session_id"], value_set=cut.columns(None, ["session_id"])["session_id"]))
    videos = clips.group_by("session_id").aggregate([("video_uuid", "count_distinct")])
    several = videos.filter(pc.greater(videos["video_uuid_count_distinct"], 1)).to_pylist()
    return {row["session_id"]: [_several(row["video_uuid_count_distinct"])] for row in several}


def _several(videos: int) -> str:
    return (
        f"Its clips are cut from {videos} videos, and the API has one transcript of a session: "
        "all clips are cut from that, and some may hold what is said in another video."
    )


def _lacking(archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
    return without_cuts(archive.table(), TranscriptShelf(archive.store()).table, session_ids)


CLIP_TRANSCRIPTS = FollowOn(clip_transcripts, after=(SESSION_TRANSCRIPTS, CLIP_FILES), lacking=_lacking)
