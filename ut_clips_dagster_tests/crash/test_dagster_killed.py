"""Dagster's daemon, code server and run worker die by `kill -9`; what they began is completed, and shown as done."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.storage.local import LocalStore

from .kills import SLOW_BODY, prove_right
from .world import ROOT, command, environment, simulator_process


@pytest.mark.long
def test_killed_daemon_and_run_worker_leave_sessions_that_the_next_run_completes(tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    with simulator_process(SLOW_BODY) as world:
        sessions = {world.add_session(3, 500_000, 2_000_000) for _ in range(3)}
        env = environment(world, tmp_path, UT_CLIPS_DISCOVERY_INTERVAL_S="1")
        daemon = command("dagster-daemon", "run", "-w", "workspace.yaml", env=env)
        try:
            world.wait_for("media", 60)
        finally:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        with DagsterInstance.from_config(str(home)) as instance:
            runs = instance.get_runs()
            assert [run.status for run in runs] == [DagsterRunStatus.STARTED], "the run worker was not hit"
        prove_right(world, LocalStore(tmp_path / "archive"))
        assert command("ut-clips", "archive", env=env).wait(120) == 0
        assert command("ut-clips", "verify", "--read-data", env=env).wait(60) == 0
        store = LocalStore(tmp_path / "archive")
        assert prove_right(world, store) == {clip for clips in world.clips.values() for clip in clips}
        assert all(SessionRecords(store).read(session_id).is_complete for session_id in sessions)
        with DagsterInstance.from_config(str(home)) as instance:
            assert set(instance.get_materialized_partitions(AssetKey("clip_files"))) == sessions
