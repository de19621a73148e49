"""A run's worker is gone only where that is certain: rebooted, or ended, on this very machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Timer
from unittest import mock

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.events import EngineEventData
from dagster._core.launcher import DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.test_utils import create_run_for_test

from ut_clips_dagster import run_launcher
from ut_clips_dagster.run_launcher import (
    UNKNOWN,
    WORKER_TAG,
    LocalRunLauncher,
    Worker,
    end_gone_runs,
    is_gone,
    mark,
    mark_launched,
    this_machine,
    this_process,
    ticks_since_boot,
    worker_of,
)

HERE = Worker(host="here", boot="boot 2", pid_namespace="pid:[1]")
LIVING = this_process()


def child() -> tuple[subprocess.Popen[bytes], Worker]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    machine = this_machine()
    assert machine is not None
    return process, machine.model_copy(update={"pid": process.pid, "started": int(stat[19])})


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"boot": "boot 1"}, True),
        ({"boot": "boot 1", "pid": 1, "started": 7}, True),
        ({"boot": "boot 1", "host": "another machine, or container"}, False),
        ({"host": "another machine, or container", "pid": 1, "started": 7}, False),
        ({"pid_namespace": "pid:[2]", "pid": 1, "started": 7}, False),
        ({}, False),
    ],
)
def test_what_is_gone_as_seen_from_here(changes: dict[str, object], gone: bool) -> None:
    assert is_gone(HERE.model_copy(update=changes), HERE) is gone


def test_where_the_kernel_does_not_tell_nothing_is_gone(tmp_path: Path) -> None:
    assert this_machine(tmp_path) is None
    assert not is_gone(HERE.model_copy(update={"boot": "boot 1"}), None)


def test_a_process_lives_until_it_ends_also_while_it_waits_to_be_buried() -> None:
    process, worker = child()
    try:
        assert not is_gone(worker, this_machine())
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(worker, this_machine())
    finally:
        process.communicate()
    assert is_gone(worker, this_machine())


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    assert LIVING is not None
    assert LIVING.started is not None
    before = LIVING.model_copy(update={"started": LIVING.started - 1})

    assert is_gone(before, this_machine())
    assert not is_gone(LIVING, this_machine())


def launched(instance: DagsterInstance, worker: Worker | None) -> DagsterRun:
    run = create_run_for_test(instance, status=DagsterRunStatus.STARTED)
    mark(instance, run.run_id, worker)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def test_run_monitoring_is_told_of_what_is_gone_and_of_nothing_else() -> None:
    assert LIVING is not None
    launcher = LocalRunLauncher()
    with DagsterInstance.ephemeral() as instance:
        living = launched(instance, LIVING)
        rebooted = launched(instance, LIVING.model_copy(update={"boot": "before"}))
        unmarked = launched(instance, None)

        assert launcher.supports_check_run_worker_health
        assert launcher.check_run_worker_health(living).status is WorkerStatus.RUNNING
        assert launcher.check_run_worker_health(unmarked).status is WorkerStatus.RUNNING
        health = launcher.check_run_worker_health(rebooted)
        assert health.status is WorkerStatus.FAILED
        assert f"Its process {os.getpid()} is gone" in str(health.msg)

        assert end_gone_runs(instance) == [rebooted.run_id]
        statuses = {run.run_id: run.status for run in instance.get_runs()}
        assert statuses[living.run_id] is statuses[unmarked.run_id] is DagsterRunStatus.STARTED
        assert statuses[rebooted.run_id] is DagsterRunStatus.FAILURE


def test_a_mark_that_cannot_be_read_says_nothing() -> None:
    with DagsterInstance.ephemeral() as instance:
        run = create_run_for_test(instance, tags={WORKER_TAG: UNKNOWN})

    assert worker_of(run) is None


def told(instance: DagsterInstance, run: DagsterRun, pid: int) -> None:
    """As Dagster's code server does it when a run's process begins."""
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid))


def marked(instance: DagsterInstance, run: DagsterRun) -> Worker:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    worker = worker_of(found)
    assert worker is not None
    return worker


def test_a_launched_run_is_marked_with_its_process_though_it_dies_before_any_code_of_ours_runs() -> None:
    machine = this_machine()
    assert machine is not None
    since = ticks_since_boot()
    process, worker = child()
    try:
        with DagsterInstance.ephemeral() as instance:
            run = launched(instance, machine)
            Timer(0.1, told, (instance, run, process.pid)).start()  # the launch is done before the process tells itself

            mark_launched(instance, run.run_id, machine, since)

            assert marked(instance, run) == worker
            process.kill()
            process.wait()
            assert end_gone_runs(instance) == [run.run_id]
    finally:
        process.communicate()


@pytest.mark.parametrize("seen", ["older than the launch", "not there", "never told"])
def test_a_process_id_that_means_nothing_here_marks_no_run(seen: str) -> None:
    """As of a code server in another container of the same pod: host, boot and network are the same."""
    machine = this_machine()
    assert machine is not None
    pid = {"older than the launch": os.getpid(), "not there": 2**22 + 1}.get(seen)
    with DagsterInstance.ephemeral() as instance:
        run = launched(instance, machine)
        if pid:
            told(instance, run, pid)
        since = ticks_since_boot()

        mark_launched(instance, run.run_id, machine, since, looks_for_s=0)

        assert marked(instance, run) == machine
        assert end_gone_runs(instance) == []


def test_a_launch_does_not_fail_when_the_runs_process_cannot_be_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run works: Dagster would mark it as failed, or launch it a second time."""
    launched_runs: list[str] = []
    monkeypatch.setattr(
        DefaultRunLauncher, "launch_run", lambda _, context: launched_runs.append(context.dagster_run.run_id)
    )
    monkeypatch.setattr(run_launcher, "_launched_here", lambda _: this_machine())
    with DagsterInstance.ephemeral() as instance:
        run = create_run_for_test(instance)
        launcher = LocalRunLauncher()
        launcher.register_instance(instance)
        broken = mock.Mock(side_effect=OSError("database is locked"))
        monkeypatch.setattr(type(instance.event_log_storage), "get_logs_for_run", broken)

        launcher.launch_run(LaunchRunContext(run, workspace=None))

        assert launched_runs == [run.run_id]
        assert f"Run {run.run_id} is launched; its process could not be noted: OSError." in caplog.text
        assert marked(instance, run) == this_machine()


def test_what_a_run_told_of_itself_meanwhile_stays() -> None:
    machine = this_machine()
    assert machine is not None
    process, worker = child()
    try:
        of_a_step = worker.model_copy(update={"run_pid": os.getpid(), "run_started": 1})
        with DagsterInstance.ephemeral() as instance:
            run = launched(instance, of_a_step)
            told(instance, run, process.pid)

            mark_launched(instance, run.run_id, machine, 0)

            assert marked(instance, run) == of_a_step
    finally:
        process.communicate()
