"""A daemon and a code server as `deploy/` has them, that are killed and start again; and who is told of alerts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from ut_clips_dagster.cli.demo import free_port
from ut_clips_dagster.run_launcher import worker_of
from ut_clips_dagster.simulator import SimulatorServer

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent
RESTART_AFTER_S = 2.0
ENDS_WITHIN_S = 30.0
MONITORING = "poll_interval_seconds: 30"
LEAST_FREE_MIB = 10
"""The archive may have a small disk, which is to run full; 2 GiB are shipped."""


class Platform:
    """The processes of one installation, in `folder`; each restarts when it has died, as systemd would have it.

    Attributes:
        secret: the client's secret, as the next start has it.
        test_ids: the configured tests, as the next start has them.
    """

    def __init__(self, simulator: SimulatorServer, folder: Path, archive: Path, scale: float, alerts: str) -> None:
        self.secret = "demo"
        self.test_ids = list(simulator.world.test_ids)
        self.archive = archive
        self.home = folder / "dagster"
        self.kills: dict[str, int] = {}
        self._simulator = simulator
        self._folder = folder
        self._scale = scale
        self._alerts = alerts
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._port = free_port(0)
        self.home.mkdir(parents=True)
        shipped = (ROOT / "dagster.yaml").read_text()
        if MONITORING not in shipped:
            raise SystemExit("dagster.yaml has another interval of run monitoring: set the soak right.")
        (self.home / "dagster.yaml").write_text(
            shipped.replace(MONITORING, f"poll_interval_seconds: {max(1, round(30 / scale))}")
        )
        with self.instance():  # its databases are there before two processes make them at a time, and one is refused
            pass
        (folder / "workspace.yaml").write_text(
            f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {self._port}, location_name: ut_clips_dagster}}\n"
        )

    def environment(self) -> dict[str, str]:
        """The settings, with everything of the machine's own taken out."""
        others = ("UT_CLIPS", "USERTESTING", "DAGSTER")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            **self._simulator.environment,
            "USERTESTING_CLIENT_SECRET": self.secret,
            "USERTESTING_TEST_IDS": ",".join(self.test_ids),
            "UT_CLIPS_ARCHIVE": str(self.archive),
            "UT_CLIPS_POLL_INTERVAL_S": str(max(0.1, 3 / self._scale)),
            "UT_CLIPS_DISCOVERY_INTERVAL_S": str(max(3, round(300 / self._scale))),
            "UT_CLIPS_MAX_CLIP_BYTES": str(20 * 1024**2),
            "UT_CLIPS_ALERT_URLS": self._alerts,
            "DAGSTER_HOME": str(self.home),
            "SOAK_SCALE": str(self._scale),
            "SOAK_LEAST_FREE_MIB": str(LEAST_FREE_MIB),
            "PYTHONPATH": str(ROOT),
            "no_proxy": "127.0.0.1",
        }

    def command(self, *words: str) -> tuple[int, str]:
        """Run `ut-clips …` as an operator would: exit code and output."""
        done = subprocess.run(
            [COMMANDS / "ut-clips", *words], cwd=self._folder, env=self.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.returncode, f"{done.stdout}{done.stderr}".strip()

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `ut-clips …` beside everything else."""
        with (self._folder / "commands.log").open("ab") as log:
            return subprocess.Popen(
                [COMMANDS / "ut-clips", *words], cwd=self._folder, env=self.environment(), stdout=log, stderr=log
            )

    def keep_running(self) -> None:
        """Start what does not run; called every now and then."""
        module = ["-m", "benchmarks.soak.location"]
        server = ["dagster", "api", "grpc", *module, "-h", "127.0.0.1", "-p", str(self._port)]
        daemon = ["dagster-daemon", "run", "-w", str(self._folder / "workspace.yaml")]
        for name, words in (("code server", server), ("daemon", daemon)):
            process = self._processes.get(name)
            if process and process.poll() is None:
                continue
            if process:
                _signal_group(process, signal.SIGKILL)  # what was left of its control group
                time.sleep(RESTART_AFTER_S)
            with (self._folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [COMMANDS / words[0], *words[1:]], cwd=self._folder, env=self.environment(), stdout=log,
                    stderr=log, start_new_session=True,
                )  # fmt: skip

    def kill(self, dice: random.Random) -> str:
        """Kill something, as a machine does that is out of memory or without power; what it was."""
        what = dice.choice(("run worker", "run worker", "daemon", "code server", "everything"))
        if what == "run worker":
            if pids := self._run_workers():
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(pids), signal.SIGKILL)
            else:
                what = "daemon"
        for name in {"run worker": (), "everything": tuple(self._processes)}.get(what, (what,)):
            _signal_group(self._processes[name], signal.SIGKILL)
            self._processes[name].wait()
        self.kills[what] = self.kills.get(what, 0) + 1
        return what

    def signal_all(self, number: int) -> None:
        """Send a signal to everything that runs: by SIGSTOP it sleeps as its machine would, and SIGCONT wakes it."""
        for process in self._processes.values():
            _signal_group(process, number)
        for pid in self._run_workers():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _run_workers(self) -> list[int]:
        with self.instance() as instance:
            runs = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        return [worker.pid for run in runs if (worker := worker_of(run)) and worker.pid]

    def restart(self) -> None:
        """Stop and start all with the settings of now, as an operator does."""
        self.stop()
        self.keep_running()

    def stop(self) -> None:
        """End everything: kindly, then not."""
        for process in self._processes.values():
            _signal_group(process, signal.SIGINT)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDS_WITHIN_S)
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    @contextmanager
    def instance(self) -> Iterator[DagsterInstance]:
        """Dagster's own state."""
        with DagsterInstance.from_config(str(self.home)) as instance:
            yield instance


@contextmanager
def alert_receiver() -> Iterator[tuple[str, list[str]]]:
    """An Apprise URL, and what is sent there, a line each."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            alert = json.loads(body)
            told.append(f"{time.strftime('%H:%M:%S')} {alert['title']}: {' '.join(alert['message'].split())}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the report tells."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/", told
    finally:
        server.shutdown()
        server.server_close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
