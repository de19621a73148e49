"""Dagster's own run launcher, and in addition it can say whether a run's process is still there.

A power cut leaves runs STARTED: they hold the pool, and their sessions count as being worked on. Dagster's run
monitoring asks the launcher for the worker's health, ends a run whose worker is gone, and retries it; but its
DefaultRunLauncher cannot say. This one can, from a mark that each run carries: the machine, its boot, and the process.
The launcher marks every run; our own runs mark themselves, too, as they know of steps that have a process each.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import socket
import time
from pathlib import Path

from dagster import AssetExecutionContext, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.hosts import is_loopback_host

LOG = logging.getLogger(__name__)
WORKER_TAG = "ut_clips/worker"
UNKNOWN = "unknown"
"""Value of the tag where nobody can tell."""
PROC = Path("/proc")
START_TIME_FIELD = 19
"""Position of `starttime` after the command's name in /proc/<pid>/stat (proc(5): field 22)."""
LOOKS_FOR_PROCESS_S = 5.0
"""A launched run's process tells its ID as the first thing it does, some milliseconds after the launch."""


class Worker(BaseModel):
    """The process that executes a run, so named that no other process ever has the same name."""

    model_config = ConfigDict(frozen=True)

    host: str
    boot: str
    """The kernel's ID of this boot; containers of one machine have the same."""
    pid_namespace: str
    """Process IDs mean something within it only: another container's cannot be looked at."""
    pid: int | None = None
    """None: not known, as the run was only launched so far, or in a container whose processes cannot be seen."""
    started: int | None = None
    """Clock ticks from the boot to the process's start: a process ID is used again."""
    run_pid: int | None = None
    """The run's own process, where an executor gives each step another: the run is gone when both are."""
    run_started: int | None = None


def this_machine(proc: Path = PROC) -> Worker | None:
    """Where this process runs; None where the kernel does not tell (it is no Linux)."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(proc / "self/ns/pid")  # noqa: PTH115 - its target is no path
    except OSError:
        return None
    return Worker(host=socket.gethostname(), boot=boot, pid_namespace=namespace)


def this_process() -> Worker | None:
    """This process, as the worker of a run."""
    machine, pid = this_machine(), os.getpid()
    return machine.model_copy(update={"pid": pid, "started": _started(pid)}) if machine else None


def is_gone(worker: Worker, here: Worker | None) -> bool:
    """Whether a worker is certainly gone, as seen from `here`: its machine was booted since, or its process ended.

    Of another machine's or container's worker nothing is known, so it is not gone.
    """
    if here is None or worker.host != here.host:
        return False
    if worker.boot != here.boot:
        return True
    if worker.pid_namespace != here.pid_namespace or worker.pid is None:
        return False
    if worker.run_pid is not None and _started(worker.run_pid) == worker.run_started:
        return False
    return _started(worker.pid) != worker.started


def mark(instance: DagsterInstance, run_id: str, worker: Worker | None) -> None:
    """Write down who executes a run."""
    if worker:
        instance.add_run_tags(run_id, {WORKER_TAG: worker.model_dump_json(exclude_none=True)})


def mark_this_process(context: AssetExecutionContext) -> None:
    """Write down that this process executes a run's step; with the run's own beside it where each step has another."""
    mark(context.instance, context.run.run_id, _worker_here(context.run, context.job_def.executor_def.name))


def worker_of(run: DagsterRun) -> Worker | None:
    """Who executes a run, as far as it was written down."""
    try:
        return Worker.model_validate_json(run.tags[WORKER_TAG]) if WORKER_TAG in run.tags else None
    except ValidationError:
        return None


class LocalRunLauncher(DefaultRunLauncher):
    """Launches runs in the code server; for `dagster.yaml`, where daemon, code server and runs share a machine."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch it, marked with this boot if it stays here, and then with its process.

        A retried run brings along the mark of its parent, so it gets one in any case.
        """
        run_id, machine = context.dagster_run.run_id, _launched_here(context)
        since = ticks_since_boot() if machine else 0
        self._instance.add_run_tags(
            run_id, {WORKER_TAG: machine.model_dump_json(exclude_none=True) if machine else UNKNOWN}
        )
        super().launch_run(context)
        if machine:
            try:
                mark_launched(self._instance, run_id, machine, since)
            except Exception as error:  # noqa: BLE001 - the run works: Dagster would take it for not launched
                LOG.warning(f"Run {run_id} is launched; its process could not be noted: {type(error).__name__}.")

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED only where it is certain; else run monitoring's `max_runtime_seconds` ends the run some day."""
        worker = worker_of(run)
        if worker and is_gone(worker, this_machine()):
            why = "The machine was booted since." if worker.pid is None else f"Its process {worker.pid} is gone."
            return CheckRunHealthResult(WorkerStatus.FAILED, f"{why} It was on {worker.host}.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def remote_launcher(instance: DagsterInstance) -> str | None:
    """Name of the instance's run launcher when it starts runs on other machines or in containers of their own.

    Of Dagster's own and of ours, which start them beside the code server, it is None. The launcher is not made: some
    ask their cluster for that.
    """
    data = instance.get_ref().run_launcher_data if instance.is_persistent else None
    if data is None:
        return None
    try:
        launcher = getattr(importlib.import_module(data.module_name), data.class_name)
    except ImportError:  # its extra is not installed here: then it is none of the two
        return data.class_name
    return None if issubclass(launcher, (DefaultRunLauncher, SyncInMemoryRunLauncher)) else data.class_name


def end_gone_runs(instance: DagsterInstance) -> list[str]:
    """End the runs whose process is certainly gone, for who works without Dagster's daemon; returns their IDs."""
    here = this_machine()
    ended = []
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])):
        if (worker := worker_of(run)) and is_gone(worker, here):
            instance.report_run_failed(run, f"The run's process ended without a word. It was on {worker.host}.")
            ended.append(run.run_id)
    return ended


def mark_launched(
    instance: DagsterInstance, run_id: str, machine: Worker, since: int, looks_for_s: float = LOOKS_FOR_PROCESS_S
) -> None:
    """Write down the process of a run that was just launched, as soon as Dagster's event log tells its ID.

    A run may be killed before its own code says who executes it. The ID may be of another container, where it means
    another process or none: what counts is one that can be seen here, and began after the launch.

    Args:
        instance: where the run is.
        run_id: of the run.
        machine: that it was launched on.
        since: clock ticks from the boot to the launch.
        looks_for_s: how long to wait for the event.
    """
    stop_at = time.monotonic() + looks_for_s
    while (pid := _process_told(instance, run_id)) is None and time.monotonic() < stop_at:
        time.sleep(0.02)
    started = _started(pid) if pid else None
    run = instance.get_run_by_id(run_id)
    told = worker_of(run) if run else None
    if started and started >= since and told and told.pid is None:  # else the run told it itself meanwhile
        mark(instance, run_id, machine.model_copy(update={"pid": pid, "started": started}))


def _process_told(instance: DagsterInstance, run_id: str) -> int | None:
    """The run's process as Dagster's code server logs it ("Started process for run"), before the run is STARTED."""
    logs = instance.event_log_storage.get_logs_for_run(run_id, of_type=DagsterEventType.ENGINE_EVENT)
    events = (entry.get_dagster_event().engine_event_data.metadata for entry in logs)
    return next((int(str(metadata["pid"].value)) for metadata in events if "pid" in metadata), None)


def _worker_here(run: DagsterRun, executor: str) -> Worker | None:
    """This process as the worker of a run; with the run's own process beside it where this is one of a step only."""
    here, config = this_process(), run.run_config.get("execution", {})
    of_steps = executor.startswith("multi") and "in_process" not in str(config)
    if here is None or not of_steps:
        return here
    parent = os.getppid()
    return here.model_copy(update={"run_pid": parent, "run_started": _started(parent)})


def _launched_here(context: LaunchRunContext) -> Worker | None:
    """This machine, if the code server that the run is a child of is here, too."""
    origin = context.dagster_run.remote_job_origin
    if context.workspace is None or origin is None:
        return None
    location = context.workspace.get_code_location(origin.repository_origin.code_location_origin.location_name)
    client = getattr(location, "client", None)
    is_here = client is not None and (client.socket is not None or is_loopback_host(client.host or ""))
    return this_machine() if is_here else None


def ticks_since_boot() -> int:
    """Clock ticks from the boot until now, as a process's start is told in; on Linux only."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _started(pid: int, proc: Path = PROC) -> int | None:
    """When a process started; None when there is no such process, or it only waits to be buried."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = re.sub(r"^.*\) ", "", stat, flags=re.DOTALL).split()  # a command's name may hold anything
    return None if fields[0] in "ZX" else int(fields[START_TIME_FIELD])
