"""The simplest run launcher for several machines: on each of them an agent starts processes, and tells of them.

python -m ut_clips_dagster_tests.hosts.agent ADDRESS PORT
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from dagster import DagsterRun
from dagster._cli.api import ExecuteRunArgs
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from typing_extensions import Self

AGENT_TAG = "hosts/agent"
TIMEOUT_S = 3.0
DEAD_AFTER_LOOKS = 3


class AgentRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts each run where the fewest are; one whose machine does not answer three times in a row is gone."""

    def __init__(self, agents: list[str], inst_data: ConfigurableClassData | None = None) -> None:
        self._agents = agents
        self._inst_data = inst_data
        self._unanswered: Counter[str] = Counter()
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {"agents": [str]}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        assert run.job_code_origin is not None
        words = ExecuteRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        ).get_command_args()
        loads = {agent: load for agent in self._agents if (load := self._load(agent)) is not None}
        if not loads:
            raise RuntimeError("No agent answers.")
        agent = min(loads, key=lambda name: loads[name])
        self._instance.add_run_tags(run.run_id, {AGENT_TAG: agent})
        httpx.post(f"{agent}/{run.run_id}", json=words, timeout=TIMEOUT_S, trust_env=False).raise_for_status()

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return httpx.delete(f"{run.tags[AGENT_TAG]}/{run_id}", timeout=TIMEOUT_S, trust_env=False).is_success

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        try:
            answer = httpx.get(f"{run.tags[AGENT_TAG]}/{run.run_id}", timeout=TIMEOUT_S, trust_env=False).json()
        except httpx.TransportError as error:
            self._unanswered[run.run_id] += 1
            if self._unanswered[run.run_id] >= DEAD_AFTER_LOOKS:
                return CheckRunHealthResult(WorkerStatus.FAILED, f"{run.tags[AGENT_TAG]} does not answer: {error}")
            return CheckRunHealthResult(WorkerStatus.UNKNOWN)
        self._unanswered.pop(run.run_id, None)
        ended = "known" not in answer or answer["code"] is not None
        return CheckRunHealthResult(WorkerStatus.FAILED if ended else WorkerStatus.RUNNING, str(answer))

    @staticmethod
    def _load(agent: str) -> int | None:
        """How many runs are there; None when it does not answer."""
        try:
            return int(httpx.get(agent, timeout=TIMEOUT_S, trust_env=False).json()["running"])
        except httpx.TransportError:
            return None


def serve(address: str, port: int) -> None:
    """GET / and /RUN, POST a command to /RUN, DELETE /RUN."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                process = processes.get(self.path[1:])
                running = sum(p.poll() is None for p in processes.values())
            self._answer({"running": running, **({"known": True, "code": process.poll()} if process else {})})

        def do_POST(self) -> None:
            words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                processes[self.path[1:]] = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
            self._answer({})

        def do_DELETE(self) -> None:
            with lock:
                processes[self.path[1:]].terminate()
            self._answer({})

        def log_message(self, *words: object) -> None:
            """Say nothing."""

        def _answer(self, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer((address, port), Handler).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
