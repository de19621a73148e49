"""Takes old runs out of Dagster's storage, and leaves what every partition shows as it is.

`dagster run delete` takes a run's materializations along: their partitions are no longer materialized. Here an old run
goes with its log, its tags and its files; of its events those stay that are the newest of their kind of a partition.
Runs that say why a partition is shown as failed stay whole.

Dagster's API has nothing between the two, so this works on the tables of Dagster's own SQL storages, SQLite and
PostgreSQL alike. Each run is taken out for itself, its row in the list of runs last: an interrupted pruning is gone on
with by the next one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster import DagsterEventType, DagsterInstance, RunsFilter
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunTagsTable

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.plain_text import one_line
from ut_clips_dagster.redaction import redact

KEEP_DAYS = 14
VALUES_PER_STATEMENT = 500
"""Some databases take no more than 999."""
PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value

Events = SqlEventLogStorageTable.c
Checks = AssetCheckExecutionsTable.c


@dataclass
class Pruned:
    """What was taken out."""

    runs: int = 0
    events: int = 0
    kept: int = 0
    """Old runs that stay, as a partition shows them as its failure, or an asset as its latest run."""
    logs_left: int = 0
    """Runs that are gone, and whose logs could not be removed."""
    why_left: str = ""
    """What the last of them was refused with."""
    is_done: bool = True
    """False: it stopped at its time limit; the next one goes on."""

    def __str__(self) -> str:
        kept = f"; {self.kept} old runs stay, as something shows them as its latest attempt" if self.kept else ""
        left = (
            f" Logs of {self.logs_left} runs stay ({self.why_left}): let who prunes list and delete them, "
            "or have a lifecycle of their bucket remove them."
        )
        return (
            f"{self.runs} runs and {self.events} events pruned{kept}.{left if self.logs_left else ''}"
            f"{'' if self.is_done else ' There are more.'}"
        )


def prune(
    instance: DagsterInstance,
    before: datetime,
    *,
    for_s: float = float("inf"),
    jobs: Sequence[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Pruned:
    """Take out the runs that were last touched before a time, oldest first, for at most so many seconds.

    Args:
        instance: whose storage is pruned.
        before: the time.
        for_s: seconds.
        jobs: runs of these only, and no event without a run; None: of all, in an instance that is ours alone.
        clock: monotonic seconds.

    Raises:
        SettingsError: the instance's storage is none that this knows.
    """
    stop_at = clock() + for_s
    events, runs, pruned = _event_storage(instance), _run_storage(instance), Pruned()
    old = [
        run_id
        for job in ([None] if jobs is None else jobs)
        for run_id in instance.get_run_ids(
            RunsFilter(job_name=job, statuses=list(FINISHED_STATUSES), updated_before=before)
        )
    ]
    kept_whole = _runs_that_say_why(events) if old else set()
    for run_id in reversed(old):
        if clock() >= stop_at:
            pruned.is_done = False
            return pruned
        if run_id in kept_whole:
            pruned.kept += 1
            continue
        pruned.events += _take_out_events(events, run_id)
        try:
            _take_out_files(instance, events, run_id)
        except Exception as error:  # noqa: BLE001 - each log manager fails in its own way; else nothing would go any more
            pruned.logs_left += 1
            pruned.why_left = one_line(redact(f"{type(error).__name__}: {error}"))
        with runs.connect() as connection:
            connection.execute(RunTagsTable.delete().where(RunTagsTable.c.run_id == run_id))  # SQLite does not cascade
        runs.delete_run(run_id)
        pruned.runs += 1
    if jobs is None:
        pruned.events += _take_out_events(events, RUNLESS_RUN_ID, before)
    return pruned


def _event_storage(instance: DagsterInstance) -> SqlEventLogStorage:
    if isinstance(instance.event_log_storage, SqlEventLogStorage):
        return instance.event_log_storage
    raise SettingsError(f"No way to prune events is known for {type(instance.event_log_storage).__name__}.")


def _run_storage(instance: DagsterInstance) -> SqlRunStorage:
    if isinstance(instance.run_storage, SqlRunStorage):
        return instance.run_storage
    raise SettingsError(f"No way to prune runs is known for {type(instance.run_storage).__name__}.")


def _runs_that_say_why(events: SqlEventLogStorage) -> set[str]:
    """Runs that a partition, an asset or a check shows as its latest attempt: without them it would not be failed."""
    found = {
        run_id
        for key in events.all_asset_keys()  # type: ignore[no-untyped-call]
        for run_id, _ in events.get_latest_asset_partition_materialization_attempts_without_materializations(
            key
        ).values()
    }
    newest = db.select(db.func.max(Checks.id)).group_by(Checks.asset_key, Checks.check_name, Checks.partition)
    planned = db.select(Checks.run_id).where(Checks.id.in_(newest), Checks.execution_status == "PLANNED")
    with events.index_connection() as connection:
        found.update(row[0] for row in connection.execute(planned))
        found.update(row[0] for row in connection.execute(db.select(AssetKeyTable.c.last_run_id)) if row[0])
    return found


def _take_out_events(events: SqlEventLogStorage, run_id: str, before: datetime | None = None) -> int:
    """Delete a run's events, but those that are the newest of their kind; returns how many."""
    condition = Events.run_id == run_id
    if before:
        condition &= Events.timestamp < before.replace(tzinfo=None)
    columns = db.select(Events.id, Events.asset_key, Events.dagster_event_type, Events.partition)
    with events.index_connection() as connection:
        rows = connection.execute(columns.where(condition)).fetchall()
        newest = _newest_of_kind(connection, rows)
        superseded = [row.id for row in rows if row.id not in newest]
        for some in _chunks(superseded):
            connection.execute(SqlEventLogStorageTable.delete().where(Events.id.in_(some)))
            connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(some)))
        if run_id:
            _take_out_checks(connection, run_id)
    if before and isinstance(events, SqliteEventLogStorage):  # it has them twice, and the index is what is asked
        with events.run_connection(run_id) as connection:
            connection.execute(SqlEventLogStorageTable.delete().where(condition))
    return len(superseded)


def _newest_of_kind(connection: db.Connection, rows: Sequence[Any]) -> set[int]:
    """Of these events of assets, those with none newer of the same asset, kind and partition.

    A plan is none of them: where it is the newest word on a partition, its run stays whole.
    """
    partitions: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for row in rows:
        if row.asset_key and row.dagster_event_type != PLANNED:
            partitions[row.asset_key, row.dagster_event_type].add(row.partition)
    newest: set[int] = set()
    for (asset_key, kind), keys in partitions.items():
        query = db.select(db.func.max(Events.id)).where(
            Events.asset_key == asset_key, Events.dagster_event_type == kind
        )
        for some in _chunks([key for key in keys if key is not None]):
            of_partitions = query.where(Events.partition.in_(some)).group_by(Events.partition)
            newest.update(row[0] for row in connection.execute(of_partitions))
        if None in keys:
            newest.update(row[0] for row in connection.execute(query.where(Events.partition.is_(None))))
    return newest


def _take_out_checks(connection: db.Connection, run_id: str) -> None:
    """Delete a run's check results, but those that are the newest of their check and partition."""
    newer = AssetCheckExecutionsTable.alias()
    is_superseded = db.exists().where(
        newer.c.asset_key == Checks.asset_key,
        newer.c.check_name == Checks.check_name,
        db.or_(newer.c.partition == Checks.partition, newer.c.partition.is_(None) & Checks.partition.is_(None)),
        newer.c.id > Checks.id,
    )
    found = connection.execute(db.select(Checks.id).where(Checks.run_id == run_id, is_superseded)).fetchall()
    for some in _chunks([row[0] for row in found]):
        connection.execute(AssetCheckExecutionsTable.delete().where(Checks.id.in_(some)))


def _take_out_files(instance: DagsterInstance, events: SqlEventLogStorage, run_id: str) -> None:
    if isinstance(events, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{events.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), VALUES_PER_STATEMENT):
        yield values[start : start + VALUES_PER_STATEMENT]
