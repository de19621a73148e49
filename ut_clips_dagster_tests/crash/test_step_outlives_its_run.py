"""What a person materializes in a host's location has a process per step, and that may outlive its killed run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from ut_clips_dagster.run_launcher import Worker, end_gone_runs, worker_of
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer
from ut_clips_dagster_tests.waiting import until

PROC = Path("/proc")


def lives(pid: int | None) -> bool:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def only_worker(instance: DagsterInstance) -> Worker:
    (run,) = instance.get_runs()
    worker = worker_of(run)
    assert worker is not None
    return worker


@pytest.mark.long
@pytest.mark.skipif(not PROC.exists(), reason="who executes a run is read from /proc")
def test_a_step_that_outlives_its_killed_run_is_not_taken_for_gone_and_stops_once_the_run_is_ended(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    config = SimulatorConfig(sessions=1, clips_total=1, generation_s=1e6, rate_limit=100_000)  # it never gets done
    with SimulatorServer(config) as simulator, DagsterInstance.from_config(str(home)) as instance:
        (session,) = simulator.world.sessions()
        instance.add_dynamic_partitions("research_sessions", [session.session_id])
        run_process = subprocess.Popen(
            [sys.executable, "-m", "ut_clips_dagster_tests.crash.outliving", session.session_id],
            env={**os.environ, "DAGSTER_HOME": str(home), "SIMULATOR_URL": simulator.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until("the step works", lambda: simulator.requests.count() > 4 or run_process.poll() is not None, 200)
        worker = only_worker(instance)
        assert worker.run_pid == run_process.pid != worker.pid

        run_process.kill()
        run_process.wait()
        at_kill = simulator.requests.count()
        until("the step goes on", lambda: simulator.requests.count() > at_kill, 30)  # the step goes on,
        assert lives(worker.pid)
        assert end_gone_runs(instance) == []  # so the run is not retried beside it

        (run,) = instance.get_runs()
        instance.report_run_failed(run)
        until("the step has ended", lambda: not lives(worker.pid), 60)
        sent = simulator.requests.count()
        assert instance.get_runs()[0].status is DagsterRunStatus.FAILURE
        assert not instance.get_materialized_partitions(AssetKey(["research", "clip_files"]))
        assert simulator.requests.count() == sent
