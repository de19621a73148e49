"""`clip_media`: what each stored clip's file is, and a poster of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from dagster import AssetExecutionContext, MetadataValue, TableMetadataValue, multi_asset

from ut_clips_dagster.assets.event_metadata import short, table
from ut_clips_dagster.assets.follow_on import BACKFILL, FollowOn, Problems, RunEvent, materialize_each
from ut_clips_dagster.assets.specs import clip_media_spec, media_check_spec
from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_MEDIA
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.media.session_media import MediaMaker, SessionMedia
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.run_queue import FOLLOW_ON_POOL, OURS
from ut_clips_dagster.storage.media_table import MediaTable

MAX_SHOWN = 50
MAX_MARKDOWN = 1_000
"""The UI shows longer markdown behind a link, not as a picture."""


@multi_asset(
    name=CLIP_MEDIA,
    specs=[clip_media_spec],
    check_specs=[media_check_spec],
    can_subset=True,
    partitions_def=sessions,
    backfill_policy=BACKFILL,
    pool=FOLLOW_ON_POOL,
    op_tags=OURS,
)
def clip_media(context: AssetExecutionContext, archive: ArchiveResource) -> Iterator[RunEvent]:
    """Look at the stored clips of the sessions of this run, and log each session's the moment it is done."""
    records, rows, store = archive.records(), archive.media_table(), archive.store()
    store.check_writable()
    with Prober() as prober:
        maker = MediaMaker(store, rows, prober)

        def make(session_id: str) -> Mapping[str, Any]:
            media = maker.make(records.read(session_id))
            return media_metadata(media, store.uri, archive.gallery_url)

        yield from materialize_each(context, CLIP_MEDIA, make, (media_check_spec, lambda: _problems(rows)))
    rows.compact()


def _problems(table: MediaTable) -> Problems:
    found: dict[str, list[str]] = {}
    for row in table.problems().itertuples():
        found.setdefault(str(row.session_id), []).append(f"Clip {row.clip_uuid}: {row.problem}")
    return found


def lacking_media(archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
    """Sessions with a stored clip whose present file was not looked at; told by the tables' rows."""
    stored, seen = archive.table().stored(session_ids), archive.media_table().paths(session_ids)
    new = stored.filter(pc.invert(pc.is_in(stored.column("storage_path"), value_set=seen)))
    return set(new.column("session_id").unique().to_pylist())


CLIP_MEDIA_FOLLOWS = FollowOn(clip_media, (CLIP_FILES,), lacking_media)


def media_metadata(media: SessionMedia, archive_uri: str, gallery_url: str) -> dict[str, Any]:
    """What a person sees of one session's materialization, and numbers that the UI plots."""
    known = [m for _, _, m in media.clips]
    shown: dict[str, Any] = {
        "clips": len(known),
        "minutes": round(sum(m.duration_s or 0.0 for m in known) / 60, 3),
        "size_bytes": sum(file.size_bytes for _, file, _ in media.clips),
        "poster_bytes": sum(m.poster_size_bytes or 0 for m in known),
        "problems": len(media.problems),
        "looked_at_in_this_run": media.looked_at,
        "dagster/partition_row_count": len(known),
        "dagster/table_name": "clip_media",
        "dagster/storage_kind": "deltalake",
        "dagster/uri": f"{archive_uri}/clip_media",
    }
    if known:
        shown["clip_table"] = _table(media)
    if media.problems:
        shown["problem"] = "\n".join(f"Clip {m.clip_uuid}: {m.problem}" for m in media.problems[:MAX_SHOWN])
    sheet = f"![clips of the session]({gallery_url}/sheets/{media.session_id}.jpg)"
    if known and gallery_url and len(sheet) < MAX_MARKDOWN:
        # by address, never as data: a participant's face in an event log could not be wiped
        shown["contact_sheet"] = MetadataValue.md(sheet)
    return shown


def _table(media: SessionMedia) -> TableMetadataValue:
    rows = [
        (
            short(clip.name),
            f"{m.duration_s:.1f}" if m.duration_s is not None else "",
            f"{m.width} x {m.height}, {m.frame_rate or '?'}/s" if m.width else "",
            m.video_codec or "",
            m.audio_codec or ("?" if m.has_audio_track else "none"),
            m.problem or "",
            m.poster_path or "",
            m.storage_path,
        )
        for clip, _, m in media.clips
    ]
    return table(("clip", "seconds", "picture", "video", "audio", "problem", "poster", "file"), rows)
