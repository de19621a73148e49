"""What the Dagster instance and the table say about all known sessions, whatever their number.

Imports little: `ut-clips status` must not wait for the definitions and the clients of the cloud.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from ut_clips_dagster.account import ARCHIVE_JOB, DEFAULT, Account
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.run_queue import IN_FLIGHT, POOL, PROGRESS_TAG, is_in_pool
from ut_clips_dagster.storage.metadata_table import TABLE, MetadataTable

USERTESTING_SESSIONS = "usertesting_sessions"
CLIP_LIST = "clip_list"
CLIP_URLS = "clip_urls"
CLIP_FILES = "clip_files"
CLIP_METADATA = "clip_metadata"
RELIST = "relist_clips"
"""The job that lists sessions again."""
RELIST_OP = "relist_sessions"
"""Its op; Dagster takes no code location in which two things have one name."""
COSTS_A_TRY = "costs_a_try"
"""Metadata of the observation that says why a session is unfinished: whether that was the session's own fault."""
CLIP_MEDIA = "clip_media"
ARCHIVE = frozenset({CLIP_LIST, CLIP_URLS, CLIP_FILES, CLIP_METADATA})
FOLLOW_ON_JOB = "make_"
"""Beginning of the names of jobs that archive nothing, but follow on what is archived."""

UNSUCCESSFUL = [*IN_FLIGHT, DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE]


def check_archive_is_there(instance: DagsterInstance, table: MetadataTable, account: Account = DEFAULT) -> None:
    """Raise StorageError when Dagster has recorded rows and there is no table: a disk that is not mounted looks so.

    Without it sessions would be found, and their clips stored, below the empty mount point; from then on there is a
    table. So everything that asks or writes looks first.
    """
    if table.open() is None and instance.fetch_materializations(account.key(CLIP_METADATA), 1).records:
        root = table.uri.removesuffix(f"/{TABLE}")
        raise StorageError(
            f"The archive {root} holds no table, but Dagster has recorded sessions in it. Is it mounted, and does "
            "UT_CLIPS_ARCHIVE name it? Nothing is done until then. If only the table is lost, `ut-clips repair` "
            "writes it anew; a new archive needs a new DAGSTER_HOME."
        )


def materialized_sessions(
    instance: DagsterInstance, asset: str, account: Account = DEFAULT, among: Collection[str] | None = None
) -> set[str]:
    """Sessions (of these, of all when None) that Dagster shows as materialized."""
    if among is None:
        return set(instance.get_materialized_partitions(account.key(asset)))
    storage, event = instance.event_log_storage, DagsterEventType.ASSET_MATERIALIZATION
    return set(storage.get_latest_storage_id_by_partition(account.key(asset), event, set(among))) & set(among)


def no_sessions(keys: Iterable[str]) -> list[str]:
    """Partition keys that a person added and that name no session: nothing is ever asked for them."""
    return [key for key in keys if not is_uuid(key)]


def told_as_no_session(key: str) -> str:
    """What a person is told of such a partition."""
    return (
        f"Partition {key[:80]!a} is no session: a key must be the session's UUID in lower case. "
        "Nothing was requested for it. Delete the partition, and add the right key."
    )


def unfinished_sessions(
    instance: DagsterInstance, table: MetadataTable, order: Sequence[str], account: Account = DEFAULT
) -> list[str]:
    """Sessions that Dagster does not show as materialized, or whose rows say that a clip is not stored."""
    done = materialized_sessions(instance, CLIP_FILES, account)
    done &= materialized_sessions(instance, CLIP_METADATA, account)
    done -= set(table.unfinished()["session_id"])
    return [session_id for session_id in order if session_id not in done and is_uuid(session_id)]


def sessions_in_flight(
    instance: DagsterInstance, order: Sequence[str], job: str | None = None, account: Account = DEFAULT
) -> set[str]:
    """Sessions that a queued or running run of the archive holds, or of the job that is named."""
    return _sessions_of_runs(instance, order, IN_FLIGHT, job, account)


def sessions_of_unsuccessful_runs(
    instance: DagsterInstance, order: Sequence[str], account: Account = DEFAULT
) -> set[str]:
    """Sessions of archiving runs that failed, were cancelled, or did not end: a killed one may not be seen to end."""
    return _sessions_of_runs(instance, order, UNSUCCESSFUL, account=account)


def relist_config(session_ids: Sequence[str], account: Account = DEFAULT) -> dict[str, Any]:
    """The run config of the job that lists sessions again: any of them, where a range of partitions has to be whole."""
    return {"ops": {account.named(RELIST_OP): {"config": {"sessions": list(session_ids)}}}}


def sessions_to_relist(run_config: Mapping[str, Any], account: Account = DEFAULT) -> list[str]:
    """The sessions of such a run config; none in that of any other job."""
    config = run_config.get("ops", {}).get(account.named(RELIST_OP), {}).get("config", {})
    return list(config.get("sessions", []))


@dataclass(frozen=True)
class QueueProgress:
    """What runs and what waits."""

    running: tuple[str, ...]
    """How far each run under way is, as it told last."""
    queued_runs: int
    queued_sessions: int


def queue_progress(runs: Iterable[DagsterRun], order: Sequence[str], account: Account = DEFAULT) -> QueueProgress:
    """How far the account's runs are, of those in flight. Pure."""
    runs = [run for run in runs if is_of(run, account)]
    queued = [run for run in runs if run.status in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED)]
    running = [run for run in runs if run not in queued]
    return QueueProgress(
        tuple(run.tags.get(PROGRESS_TAG) or run.tags.get(PARTITION_NAME_TAG, "begun") for run in running),
        len(queued),
        len(_sessions_of(queued, order, account)),
    )


def archiving_jobs(account: Account) -> tuple[str, str]:
    """The names of the account's jobs that archive: the clips of sessions, and those that list sessions again."""
    return account.named(ARCHIVE_JOB), account.named(RELIST)


def is_of(run: DagsterRun, account: Account) -> bool:
    """Whether a run is the account's; the one without a name has its Dagster instance to itself."""
    return (
        not account.name
        or run.job_name in archiving_jobs(account)
        or run.job_name.startswith(account.named(FOLLOW_ON_JOB))
        or any(account.holds(key) for key in run.asset_selection or ())
    )


def _sessions_of_runs(
    instance: DagsterInstance,
    order: Sequence[str],
    statuses: Sequence[DagsterRunStatus],
    job: str | None = None,
    account: Account = DEFAULT,
) -> set[str]:
    runs = instance.get_runs(RunsFilter(job_name=job, statuses=statuses))
    return _sessions_of((run for run in runs if job or is_archiving(run, account)), order, account)


def _sessions_of(runs: Iterable[DagsterRun], order: Sequence[str], account: Account = DEFAULT) -> set[str]:
    position = {key: index for index, key in enumerate(order)}
    sessions: set[str] = set()
    for run in runs:
        if key := run.tags.get(PARTITION_NAME_TAG):
            sessions.add(key)
        first, last = run.tags.get(ASSET_PARTITION_RANGE_START_TAG), run.tags.get(ASSET_PARTITION_RANGE_END_TAG)
        if first in position and last in position:
            sessions.update(order[position[first] : position[last] + 1])
        sessions.update(sessions_to_relist(run.run_config, account))
    return sessions


def is_archiving(run: DagsterRun, account: Account = DEFAULT) -> bool:
    """Whether a run holds any of the account's four: what follows on them waits long, and must not keep them waiting.

    A host's runs, and those of another account, do not count.
    """
    if run.asset_selection:
        return not run.asset_selection.isdisjoint(account.key(name) for name in ARCHIVE)
    return run.job_name in archiving_jobs(account) or is_in_pool(run, account.named(POOL))
