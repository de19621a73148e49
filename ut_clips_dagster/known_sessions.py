"""What the Dagster instance and the table say about all known sessions, whatever their number.

Imports little: `ut-clips status` must not wait for the definitions and the clients of the cloud.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from ut_clips_dagster.storage.metadata_table import MetadataTable

USERTESTING_SESSIONS = "usertesting_sessions"
CLIP_LIST = "clip_list"
CLIP_URLS = "clip_urls"
CLIP_FILES = "clip_files"
CLIP_METADATA = "clip_metadata"
CLIP_MEDIA = "clip_media"
ARCHIVE = frozenset({CLIP_LIST, CLIP_URLS, CLIP_FILES, CLIP_METADATA})
FOLLOW_ON_JOB = "make_"
"""Beginning of the names of jobs that archive nothing, but follow on what is archived."""

IN_FLIGHT = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
UNSUCCESSFUL = [*IN_FLIGHT, DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE]


def materialized_sessions(instance: DagsterInstance, asset: str) -> set[str]:
    """Sessions that Dagster shows as materialized."""
    return set(instance.get_materialized_partitions(AssetKey(asset)))


def unfinished_sessions(instance: DagsterInstance, table: MetadataTable, order: Sequence[str]) -> list[str]:
    """Partitions that Dagster does not show as materialized, or whose rows say that a clip is not stored."""
    done = materialized_sessions(instance, CLIP_FILES)
    done &= materialized_sessions(instance, CLIP_METADATA)
    done -= set(table.unfinished()["session_id"])
    return [session_id for session_id in order if session_id not in done]


def sessions_in_flight(instance: DagsterInstance, order: Sequence[str], job: str | None = None) -> set[str]:
    """Sessions that a queued or running run of the archive holds, or of the job that is named."""
    return _sessions_of_runs(instance, order, IN_FLIGHT, job)


def sessions_of_unsuccessful_runs(instance: DagsterInstance, order: Sequence[str]) -> set[str]:
    """Sessions of archiving runs that failed, were cancelled, or did not end: a killed one may not be seen to end."""
    return _sessions_of_runs(instance, order, UNSUCCESSFUL)


def _sessions_of_runs(
    instance: DagsterInstance, order: Sequence[str], statuses: Sequence[DagsterRunStatus], job: str | None = None
) -> set[str]:
    position = {key: index for index, key in enumerate(order)}
    sessions: set[str] = set()
    for run in instance.get_runs(RunsFilter(job_name=job, statuses=statuses)):
        if job is None and not _archives(run):
            continue
        if key := run.tags.get(PARTITION_NAME_TAG):
            sessions.add(key)
        first, last = run.tags.get(ASSET_PARTITION_RANGE_START_TAG), run.tags.get(ASSET_PARTITION_RANGE_END_TAG)
        if first in position and last in position:
            sessions.update(order[position[first] : position[last] + 1])
    return sessions


def _archives(run: DagsterRun) -> bool:
    """Whether a run holds any of the four: what follows on them waits long, and must not keep them waiting."""
    if run.asset_selection:
        return any(key.to_user_string() in ARCHIVE for key in run.asset_selection)
    return not run.job_name.startswith(FOLLOW_ON_JOB)
