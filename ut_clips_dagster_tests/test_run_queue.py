"""One batch at a time, and what a person launches goes first: the queue of the instance we ship."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, Definitions, asset, define_asset_job
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from ut_clips_dagster.archive.plan import History, plan
from ut_clips_dagster.archive.progress import Progress
from ut_clips_dagster.assets.run_plan import progress_text
from ut_clips_dagster.cli.platform import INSTANCE_CONFIG
from ut_clips_dagster.definitions import JOB, build_definitions
from ut_clips_dagster.known_sessions import queue_progress
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.run_queue import (
    AT_WORK,
    BATCH_TAG,
    FOLLOW_ON_TAG,
    GIVES_WAY_S,
    LAST_CLIPS,
    MOST_WAITING,
    OURS,
    PROGRESS_TAG,
    SILENT,
    SILENT_AFTER,
    by_hand_in_flight,
    by_hand_looker,
    make_room,
    pass_over_silent,
)
from ut_clips_dagster.sensors import late_clips, new_sessions, unfinished_sessions
from ut_clips_dagster.sensors.run_requests import run_requests
from ut_clips_dagster.settings import placeholder_settings
from ut_clips_dagster_tests.platform import ORIGIN

KEYS = [f"00000000-0000-0000-0000-{number:012}" for number in range(30)]
BY_HAND = {PARTITION_NAME_TAG: KEYS[0]}
RANGE = {ASSET_PARTITION_RANGE_START_TAG: KEYS[0], ASSET_PARTITION_RANGE_END_TAG: KEYS[9]}
BACKFILL = {ASSET_PARTITION_RANGE_START_TAG: KEYS[0], ASSET_PARTITION_RANGE_END_TAG: KEYS[0], BACKFILL_ID_TAG: "b"}


@pytest.fixture(scope="module")
def job() -> Any:
    return build_definitions(placeholder_settings()).resolve_job_def(JOB)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    home = tmp_path_factory.mktemp("home")
    shutil.copy(INSTANCE_CONFIG, home)
    with DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(SESSIONS, KEYS)
        yield instance


@pytest.fixture
def instance(shipped: DagsterInstance) -> Iterator[DagsterInstance]:
    """Without runs: an instance is dear."""
    yield shipped
    for run in shipped.get_runs():
        shipped.delete_run(run.run_id)


def launch(instance: DagsterInstance, job: Any, tags: dict[str, str]) -> str:
    run = instance.create_run_for_job(job, tags=tags, remote_job_origin=ORIGIN)
    instance.run_coordinator.submit_run(SubmitRunContext(run, None))  # type: ignore[arg-type]  # it needs no workspace
    return run.run_id


def under_way(instance: DagsterInstance, job: Any, tags: dict[str, str]) -> str:
    return instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED).run_id


def tag(instance: DagsterInstance, run_id: str, name: str = BATCH_TAG) -> str | None:
    run = instance.get_run_by_id(run_id)
    return run.tags.get(name) if run else None


class TestQueue:
    """What the daemon would start now."""

    @staticmethod
    def next_runs(instance: DagsterInstance) -> list[str]:
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        runs = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)
        return [run.run_id for run in runs]

    def test_a_run_by_hand_starts_whatever_is_queued_or_running(self, instance: DagsterInstance, job: Any) -> None:
        under_way(instance, job, {**RANGE, BATCH_TAG: AT_WORK})
        for request in run_requests(KEYS[:4], KEYS, 1, new_sessions.PRIORITY, "new session"):
            launch(instance, job, dict(request.tags))
        launch(instance, job, BACKFILL)
        by_hand = [launch(instance, job, BY_HAND) for _ in range(5)]
        assert self.next_runs(instance) == by_hand

    def test_one_batch_starts_at_a_time_and_a_backfill_is_one(self, instance: DagsterInstance, job: Any) -> None:
        (request,) = run_requests(KEYS[:10], KEYS, 10, new_sessions.PRIORITY, "new session")
        launch(instance, job, dict(request.tags))
        backfill = launch(instance, job, BACKFILL)
        assert self.next_runs(instance) == [backfill], "a person launched it"

    def test_the_next_batch_starts_when_one_only_waits_for_its_last_clips(
        self, instance: DagsterInstance, job: Any
    ) -> None:
        first = under_way(instance, job, {**RANGE, BATCH_TAG: AT_WORK})
        second = launch(instance, job, RANGE)
        assert self.next_runs(instance) == []
        make_room(instance, first)
        assert self.next_runs(instance) == [second]

    def test_few_batches_wait_for_their_last_clips_beside_it(self, instance: DagsterInstance, job: Any) -> None:
        runs = [under_way(instance, job, {**RANGE, BATCH_TAG: AT_WORK}) for _ in range(MOST_WAITING + 1)]
        for run_id in runs:
            make_room(instance, run_id)
        assert [tag(instance, run_id) for run_id in runs] == [LAST_CLIPS] * MOST_WAITING + [AT_WORK]

    def test_a_batch_executed_again_waits_its_turn_whatever_became_of_the_first(
        self, instance: DagsterInstance, job: Any
    ) -> None:
        again = launch(instance, job, {**RANGE, BATCH_TAG: LAST_CLIPS})
        assert tag(instance, again) == AT_WORK

    def test_a_hosts_runs_get_no_tag_though_its_pools_are_called_like_an_accounts(
        self, instance: DagsterInstance
    ) -> None:
        @asset(pool="crm_follow_on")
        def of_host() -> None: ...

        @asset(pool="our_usertesting_api")
        def of_host_too() -> None: ...

        @asset(pool="crm_usertesting_api", op_tags=OURS)
        def of_account() -> None: ...

        together = Definitions([of_host, of_host_too, of_account], jobs=[define_asset_job("all")])
        alone = Definitions([of_host, of_host_too], jobs=[define_asset_job("hosts")])
        of_both, of_hosts = (
            launch(instance, defs.resolve_job_def(name), BACKFILL)
            for defs, name in ((together, "all"), (alone, "hosts"))
        )
        assert [tag(instance, of_hosts, name) for name in (BATCH_TAG, FOLLOW_ON_TAG)] == [None, None]
        assert [tag(instance, of_both, name) for name in (BATCH_TAG, FOLLOW_ON_TAG)] == ["crm_at work", None]

    def test_new_sessions_go_before_retries_and_those_before_rechecks(
        self, instance: DagsterInstance, job: Any
    ) -> None:
        for sensor in (late_clips, unfinished_sessions, new_sessions):
            (request,) = run_requests(KEYS[:1], KEYS, 10, sensor.PRIORITY, "test")
            run_id = launch(instance, job, dict(request.tags))
        assert self.next_runs(instance) == [run_id]
        assert [s.PRIORITY for s in (late_clips, unfinished_sessions, new_sessions)] == [-3, -2, -1]

    def test_a_batch_that_died_with_its_machine_holds_up_the_next_for_minutes_only(
        self, instance: DagsterInstance, job: Any
    ) -> None:
        dead = under_way(instance, job, {**RANGE, BATCH_TAG: AT_WORK})
        following = launch(instance, job, RANGE)
        assert pass_over_silent(instance, datetime.now(timezone.utc)) == []
        assert pass_over_silent(instance, datetime.now(timezone.utc) + SILENT_AFTER + timedelta(seconds=2)) == [dead]
        assert tag(instance, dead) == SILENT
        assert self.next_runs(instance) == [following]


class TestByHand:
    """Whether a batch gives way."""

    @staticmethod
    def somebody_waits(instance: DagsterInstance, later_s: float = 0) -> bool:
        return by_hand_in_flight(instance, datetime.now(timezone.utc) + timedelta(seconds=later_s))

    def test_to_a_run_by_hand_queued_or_under_way_for_a_window_and_no_longer(
        self, instance: DagsterInstance, job: Any
    ) -> None:
        assert not self.somebody_waits(instance)
        launch(instance, job, BY_HAND)
        assert self.somebody_waits(instance)
        assert not self.somebody_waits(instance, GIVES_WAY_S + 1)

    def test_to_no_batch(self, instance: DagsterInstance, job: Any) -> None:
        launch(instance, job, BACKFILL)
        under_way(instance, job, {**RANGE, BATCH_TAG: AT_WORK})
        assert not self.somebody_waits(instance)

    def test_to_no_run_that_is_done(self, instance: DagsterInstance, job: Any) -> None:
        instance.create_run_for_job(job, tags=BY_HAND, status=DagsterRunStatus.SUCCESS)
        assert not self.somebody_waits(instance)

    def test_to_no_run_that_asks_the_api_nothing(self, instance: DagsterInstance) -> None:
        @asset
        def other() -> None: ...

        others = Definitions([other], jobs=[define_asset_job("others")])
        instance.create_run_for_job(others.resolve_job_def("others"))
        assert not self.somebody_waits(instance)

    def test_it_looks_once_a_second_at_most(self, instance: DagsterInstance, job: Any) -> None:
        now = [100.0]
        looker = by_hand_looker(instance, lambda: now[0], every_s=1.0)
        assert not looker()
        launch(instance, job, BY_HAND)
        now[0] += 0.5
        assert not looker()
        now[0] += 0.5
        assert looker()


def test_the_queues_progress_tells_what_each_run_told_and_what_waits(instance: DagsterInstance, job: Any) -> None:
    under_way(instance, job, {**RANGE, BATCH_TAG: AT_WORK, PROGRESS_TAG: "3 of 10 sessions"})
    under_way(instance, job, {PARTITION_NAME_TAG: KEYS[29]})
    launch(instance, job, {ASSET_PARTITION_RANGE_START_TAG: KEYS[10], ASSET_PARTITION_RANGE_END_TAG: KEYS[19]})
    launch(instance, job, {PARTITION_NAME_TAG: KEYS[20]})
    told = queue_progress(instance.get_runs(), KEYS)
    assert sorted(told.running) == [KEYS[29], "3 of 10 sessions"]
    assert (told.queued_runs, told.queued_sessions) == (2, 11)


def test_a_runs_progress_tells_sessions_clips_bytes_and_what_is_left_by_its_plan() -> None:
    planned = plan(History(clips_per_session=2.0), 10, 10, 0)
    progress = Progress(sessions=10, sessions_done=4, clips=12, clips_stored=9, bytes_stored=12_300_000, requests=25)
    assert progress_text(progress, planned) == (
        "4 of 10 sessions, 9 of 12 clips found so far, 12.3 MB; about 2 min left"
    )
    progress.requests = 60
    assert progress_text(progress, planned).endswith("; longer than planned")
