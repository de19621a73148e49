"""Run monitoring ends what a power cut left STARTED, and nothing that still lives; a signal ends a run at once.

A real daemon, real run workers and the simulator. A media host that sends some bytes and then nothing holds the runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.run_launcher import WORKER_TAG, Worker, worker_of
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster_tests.waiting import until

from .world import ROOT, RemoteWorld, command, environment, simulator_process

STALLED = "slow_body:delay_s=2"
ENDS_WITHIN_S = 10.0
SETS_OUT_WITHIN_S = 240.0


@contextmanager
def home(folder: Path) -> Iterator[DagsterInstance]:
    """Dagster's home with the configuration we ship, only that monitoring looks every second."""
    place = folder / "dagster"
    place.mkdir()
    shipped = (ROOT / "dagster.yaml").read_text()
    assert "poll_interval_seconds: 30" in shipped
    (place / "dagster.yaml").write_text(shipped.replace("poll_interval_seconds: 30", "poll_interval_seconds: 1"))
    with DagsterInstance.from_config(str(place)) as instance:
        yield instance


def kill_group(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    os.killpg(process.pid, number)
    process.wait()


@contextmanager
def daemons(world: RemoteWorld, folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a daemon at each call; in the end nothing is left of any, nor of its code server and its runs."""
    env, started = environment(world, folder, UT_CLIPS_DISCOVERY_INTERVAL_S="1"), list[subprocess.Popen[bytes]]()

    def start() -> subprocess.Popen[bytes]:
        started.append(command("dagster-daemon", "run", "-w", "workspace.yaml", env=env))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            try:
                kill_group(process)
            except ProcessLookupError:
                process.wait()


def marked_run(instance: DagsterInstance) -> DagsterRun | None:
    runs = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
    return next((run for run in runs if (worker := worker_of(run)) and worker.pid), None)


@pytest.mark.long
def test_daemon_that_starts_again_leaves_living_runs_and_ends_and_retries_those_that_are_gone(tmp_path: Path) -> None:
    with simulator_process(STALLED) as world, home(tmp_path) as instance, daemons(world, tmp_path) as start:
        world.add_session(1, 500_000, 600_000)
        first = start()
        world.wait_for("media", SETS_OUT_WITHIN_S)
        run = marked_run(instance)
        assert run is not None
        worker = worker_of(run)
        assert worker is not None
        assert worker.pid
        os.kill(first.pid, signal.SIGKILL)  # the daemon alone: the code server and the run worker go on
        first.wait()
        start()
        until("the daemon watches", lambda: instance.get_daemon_statuses()["MONITORING"].healthy, SETS_OUT_WITHIN_S)
        time.sleep(3)  # monitoring has looked more than once
        living = instance.get_run_by_id(run.run_id)
        assert living is not None
        assert living.status is DagsterRunStatus.STARTED
        kill_group(first)  # its code server and the run worker: as after a power cut
        until("the run has failed", lambda: _status(instance, run) is DagsterRunStatus.FAILURE, 30)
        until("it is retried", lambda: instance.get_runs(RunsFilter(tags={"dagster/retry_number": "1"})), 60)


@pytest.mark.long
def test_a_run_that_is_killed_with_its_code_server_before_it_did_anything_is_ended_and_retried(tmp_path: Path) -> None:
    """Nobody else would say so: Dagster's code server tells of its own runs only, and only while it lives."""
    with simulator_process(STALLED) as world, home(tmp_path) as instance, daemons(world, tmp_path) as start:
        world.add_session(1, 500_000, 600_000)
        first = start()
        begun = RunsFilter(statuses=[DagsterRunStatus.STARTED])
        until("a run has begun", lambda: instance.get_runs(begun), SETS_OUT_WITHIN_S, every_s=0.01)
        kill_group(first)
        (run,) = instance.get_runs(begun)
        assert not world.count("list_clips"), "the run had begun its work: killed too late to prove anything"
        start()
        until("the run has failed", lambda: _status(instance, run) is DagsterRunStatus.FAILURE, SETS_OUT_WITHIN_S)
        until("it is retried", lambda: instance.get_runs(RunsFilter(tags={"dagster/retry_number": "1"})), 60)


def _status(instance: DagsterInstance, run: DagsterRun) -> DagsterRunStatus | None:
    found = instance.get_run_by_id(run.run_id)
    return found.status if found else None


@pytest.mark.long
def test_run_that_a_person_terminates_is_cancelled_within_ten_seconds_though_its_media_host_stalls(
    tmp_path: Path,
) -> None:
    with simulator_process(STALLED) as world, home(tmp_path) as instance, daemons(world, tmp_path) as start:
        world.add_session(3, 20_000_000, 21_000_000)
        start()
        world.wait_for("media", SETS_OUT_WITHIN_S)
        run = marked_run(instance)
        assert run is not None
        assert instance.run_launcher.terminate(run.run_id)
        took_s = until("the run is canceled", lambda: _status(instance, run) is DagsterRunStatus.CANCELED, 60)
    print(f"CANCELED after {took_s:.1f} s")  # noqa: T201 - a figure for who runs it by hand
    assert took_s < ENDS_WITHIN_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_archive_ends_with_130_within_ten_seconds_and_begins_no_further_run(tmp_path: Path, number: int) -> None:
    with simulator_process(STALLED) as world, home(tmp_path) as instance:
        apart = [world.add_session(1, 20_000_000, 21_000_000) for _ in range(2)]
        env = environment(world, tmp_path)
        process = command("ut-clips", "archive", "--session", apart[0], "--session", apart[1], env=env)
        world.wait_for("media", SETS_OUT_WITHIN_S)
        began = time.monotonic()
        os.kill(process.pid, number)
        code = process.wait(60)
        took_s = time.monotonic() - began
        runs = instance.get_runs()
    print(f"exit {code} after {took_s:.1f} s")  # noqa: T201 - a figure for who runs it by hand
    assert code == 130
    assert took_s < ENDS_WITHIN_S
    assert len(runs) == 1
    assert runs[0].is_finished
    assert "Stopped. What is stored is kept" in (tmp_path / "ut-clips-archive.log").read_text()


def test_run_that_was_ended_elsewhere_stops_and_reports_nothing(tmp_path: Path) -> None:
    """As when its network was cut, and Dagster took it for dead and had it retried on another machine."""
    with simulator_process(STALLED) as world, home(tmp_path) as instance:
        session_id = world.add_session(1, 2_000_000, 2_100_000)
        env = environment(world, tmp_path)
        process = command("ut-clips", "archive", env=env)
        world.wait_for("media", SETS_OUT_WITHIN_S)
        (run,) = instance.get_runs()
        instance.report_run_failed(run)
        process.wait(30)
        store = LocalStore(tmp_path / "archive")
        assert not SessionRecords(store).read(session_id).is_complete
        assert _status(instance, run) is DagsterRunStatus.FAILURE
        assert instance.get_materialized_partitions(AssetKey("clip_metadata")) == set()


def test_archive_ends_the_runs_of_before_a_reboot(tmp_path: Path) -> None:
    with simulator_process() as world, home(tmp_path) as instance:
        left = _left_by_another_boot(instance)
        assert command("ut-clips", "archive", env=environment(world, tmp_path)).wait(120) == 0
        assert _status(instance, left) is DagsterRunStatus.FAILURE


def _left_by_another_boot(instance: DagsterInstance) -> DagsterRun:
    from ut_clips_dagster.definitions import JOB, defs
    from ut_clips_dagster.run_launcher import this_process

    here = this_process()
    assert here is not None
    before: Worker = here.model_copy(update={"boot": "another"})
    tags = {WORKER_TAG: before.model_dump_json()}
    return instance.create_run_for_job(defs.resolve_job_def(JOB), status=DagsterRunStatus.STARTED, tags=tags)


__all__ = ["RemoteWorld"]
