"""Dagster's run queue: one batch at a time, and what a person launches goes first.

By Dagster's own means: `dagster.yaml` limits the runs tagged `ut_clips/batch: at work` to one. Our sensors tag the runs
they request, and `BatchCoordinator` those of a backfill; a run of one session that a person launches has no such tag,
so it never waits for a batch. The batch sees it in the instance, and sends nothing until it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta, timezone

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.clock import SKEW, is_future

POOL = "usertesting_api"
FOLLOW_ON_POOL = "follow_on"
OURS = {"ut_clips/op": "ours"}
"""A tag of each op of ours in a pool: by the pool's name alone one of a host's, say `crm_follow_on`, might be ours."""
FOLLOW_ON_TAG = "ut_clips/follow_on"
"""On every run of what follows on the clips; `dagster.yaml` lets one run of each value at a time, so that slots are
left to archiving."""
BY_HAND = "by hand"
BATCH_TAG = "ut_clips/batch"
AT_WORK = "at work"
PROGRESS_TAG = "ut_clips/progress"
LAST_CLIPS = "last clips"
SILENT = "silent"
MOST_WAITING = 2
"""Batches that only wait for their last clips while another is at work: each is a process."""
SILENT_AFTER = timedelta(minutes=10)
"""A batch tells its progress about once a minute; one that does not for so long died with its machine."""
GIVES_WAY_S = 60.0
"""A batch sends nothing for a window, at most, after each launch by hand; beyond that the two share."""
LOOK_EVERY_S = 1.0
IN_FLIGHT = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


class BatchCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """Dagster's queue, which tags as a batch what a person launches over many partitions, too."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue a run."""
        run = context.dagster_run
        # one that is executed again has its parent's tags, whatever became of that
        if is_batch(run.tags) and (tag := self._of_its_account(run, POOL, AT_WORK)):
            self._instance.add_run_tags(run.run_id, {BATCH_TAG: tag})
        if FOLLOW_ON_TAG not in run.tags and (tag := self._of_its_account(run, FOLLOW_ON_POOL, BY_HAND)):
            self._instance.add_run_tags(run.run_id, {FOLLOW_ON_TAG: tag})
        return super().submit_run(context)

    def _of_its_account(self, run: DagsterRun, pool: str, value: str) -> str | None:
        """A tag's value as `Account.named` makes it, for the account whose pool of that kind a run of ours is in."""
        names = {name for name in _pools(run) if name == pool or name.endswith(f"_{pool}")}
        if not names or run.job_snapshot_id is None:
            return None
        ops = self._instance.get_job_snapshot(run.job_snapshot_id).node_defs_snapshot.op_def_snaps
        ours = (op.pool for op in ops if op.pool in names and op.tags.items() >= OURS.items())
        return next((f"{name.removesuffix(pool)}{value}" for name in ours), None)


def is_batch(tags: Mapping[str, str]) -> bool:
    """Whether a run waits for its turn: requested by a sensor, of a backfill, or not over just one session."""
    first, last = tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    one_session = PARTITION_NAME_TAG in tags or (first is not None and first == last)
    return BATCH_TAG in tags or BACKFILL_ID_TAG in tags or not one_session


def by_hand_looker(
    instance: DagsterInstance,
    clock: Callable[[], float] = time.monotonic,
    every_s: float = LOOK_EVERY_S,
    account: Account = DEFAULT,
) -> Callable[[], bool]:
    """Says whether somebody waits for a run by hand; it looks into the instance once a second at most."""
    looked_at, waits = -every_s, False

    def somebody_waits() -> bool:
        nonlocal looked_at, waits
        if clock() >= looked_at + every_s:
            looked_at, waits = clock(), by_hand_in_flight(instance, datetime.now(timezone.utc), account)
        return waits

    return somebody_waits


def by_hand_in_flight(instance: DagsterInstance, now: datetime, account: Account = DEFAULT) -> bool:
    """Whether a run that asks the API and is no batch was launched within `GIVES_WAY_S`, and is not done yet."""
    since = now - timedelta(seconds=GIVES_WAY_S)
    launched = RunsFilter(statuses=IN_FLIGHT, created_after=since, created_before=now + SKEW)
    pool = account.named(POOL)
    return any(not is_batch(run.tags) and is_in_pool(run, pool) for run in instance.get_runs(launched))


def make_room(instance: DagsterInstance, run_id: str, account: Account = DEFAULT) -> None:
    """Let the next batch begin, as this one only waits for its last clips."""
    waiting = RunsFilter(statuses=[DagsterRunStatus.STARTED], tags={BATCH_TAG: account.named(LAST_CLIPS)})
    if instance.get_runs_count(waiting) < MOST_WAITING:
        instance.add_run_tags(run_id, {BATCH_TAG: account.named(LAST_CLIPS)})


def pass_over_silent(instance: DagsterInstance, now: datetime, account: Account = DEFAULT) -> list[str]:
    """Let the next batch begin where one died with its machine; else it would hold its turn for hours.

    Returns:
        IDs of the runs passed over.
    """
    at_work = RunsFilter(statuses=[DagsterRunStatus.STARTED], tags={BATCH_TAG: account.named(AT_WORK)})
    silent = [
        record.dagster_run.run_id
        for record in instance.get_run_records(at_work)
        if now - record.update_timestamp > SILENT_AFTER or is_future(record.update_timestamp, now)
    ]
    for run_id in silent:
        instance.add_run_tags(run_id, {BATCH_TAG: SILENT})
    return silent


def is_in_pool(run: DagsterRun, pool: str) -> bool:
    """Whether any step of a run is in a pool."""
    return pool in _pools(run)


def _pools(run: DagsterRun) -> Collection[str]:
    return (run.run_op_concurrency.all_pools or ()) if run.run_op_concurrency else ()
