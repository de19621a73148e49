"""Sessions that are complete in the archive, and that Dagster does not show as done: their run was killed too early."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dagster import AssetMaterialization, DagsterInstance, DagsterRunStatus, RunsFilter

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.rows import all_clip_metadata, differing_sessions
from ut_clips_dagster.archive.session_work import SessionResult
from ut_clips_dagster.assets.event_metadata import event_metadata
from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_LIST, CLIP_METADATA, CLIP_URLS
from ut_clips_dagster.resources import ArchiveResource

MAX_READ_PER_TICK = 200
"""Sessions whose documents a tick reads: in a bucket that takes three seconds."""
MAX_SHOWN_PER_TICK = 50
"""Sessions whose events a tick logs: four each, of 20 ms."""
ENDED_BADLY = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


def shown_failed(instance: DagsterInstance, since: datetime | None, account: Account = DEFAULT) -> set[str]:
    """Sessions that a run was to materialize and did not; looked for only when runs ended badly since.

    Dagster shows them as failed, or as they were before if the run was cancelled, also where an earlier run had
    materialized them.
    """
    if not instance.get_runs(RunsFilter(statuses=ENDED_BADLY, updated_after=since), limit=1):
        return set()
    storage = instance.event_log_storage
    return {
        session_id
        for name in (CLIP_LIST, CLIP_URLS, CLIP_FILES, CLIP_METADATA)
        for session_id in storage.get_latest_asset_partition_materialization_attempts_without_materializations(
            account.key(name)
        )
    }


def finished_events(archive: ArchiveResource, doubtful: Sequence[str]) -> tuple[set[str], list[AssetMaterialization]]:
    """Those that are done all the same, by their documents and their rows, and the events that say so.

    Args:
        archive: where they are.
        doubtful: sessions that Dagster does not show as done, and that no run holds.
    """
    if not doubtful:
        return set(), []
    table = archive.table()
    lacking = set(table.unfinished()["session_id"])
    to_read = [session_id for session_id in doubtful if session_id not in lacking][:MAX_READ_PER_TICK]
    records = [
        record
        for _, record in archive.records().read_all(to_read)
        if isinstance(record, SessionRecord) and record.is_complete
    ][:MAX_SHOWN_PER_TICK]
    expected, found = all_clip_metadata(records), table.read([record.session_id for record in records])
    differing = differing_sessions(expected, found)  # by a kill before their rows: a run writes them
    numbers = expected["session_id"].value_counts()
    events, uri = [], archive.store().uri
    finished = [record for record in records if record.session_id not in differing]
    for record in finished:
        rows = int(numbers.get(record.session_id, 0))
        result = SessionResult(record.session_id, record, rows, None, from_documents=True)
        events += [
            AssetMaterialization(archive.account.key(name), partition=record.session_id, metadata=metadata)
            for name, metadata in event_metadata(result, uri, archive.gallery_url).items()
        ]
    return {record.session_id for record in finished}, events
