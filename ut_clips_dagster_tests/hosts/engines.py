"""What starts the runs on the hosts: Ray, or the simplest that can."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from filelock import FileLock

from .lan import ROOT, Host

ENVIRONMENT = ROOT / ".venv-ray"
REQUIREMENTS = ("ray[default,client]==2.60.0", "dagster-ray[run-launcher]==0.4.8")
INSTALL_S = 1200
AGENT_PORT, RAY_PORT, DASHBOARD_PORT = 8099, 6379, 8265


class Engine(Protocol):
    """How runs get onto hosts."""

    python: Path
    """The interpreter of daemon, code server and runs."""

    def launcher(self, workers: Mapping[str, Host]) -> dict[str, Any]:
        """The `run_launcher` of `dagster.yaml`; empty: the one that is there."""

    def environment(self, control: Host) -> dict[str, str]:
        """What it needs in the environment of every process."""

    def start_head(self, control: Host, env: Mapping[str, str], logs: Path) -> None:
        """Start what it needs once."""

    def start_worker(self, host: Host, control: Host, env: Mapping[str, str], logs: Path) -> None:
        """Start what it needs on each host that runs are started on."""


class Agents:
    """Our own launcher of a hundred lines."""

    python = Path(sys.executable)

    def launcher(self, workers: Mapping[str, Host]) -> dict[str, Any]:
        agents = [f"http://{host.address}:{AGENT_PORT}" for host in workers.values()]
        module = "ut_clips_dagster_tests.hosts.agent"
        return {"module": module, "class": "AgentRunLauncher", "config": {"agents": agents}}

    def environment(self, control: Host) -> dict[str, str]:  # noqa: ARG002
        return {}

    def start_head(self, control: Host, env: Mapping[str, str], logs: Path) -> None:
        pass

    def start_worker(self, host: Host, control: Host, env: Mapping[str, str], logs: Path) -> None:  # noqa: ARG002
        with (logs / f"agent-{host.name}.log").open("ab") as log:
            module = "ut_clips_dagster_tests.hosts.agent"
            host.popen(str(self.python), "-m", module, host.address, str(AGENT_PORT), env=env, log=log)


class Ray:
    """A head beside the daemon, that starts no run itself, and a worker on each other host."""

    def __init__(self) -> None:
        self.python = _environment() / "python"

    def launcher(self, workers: Mapping[str, Host]) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def environment(self, control: Host) -> dict[str, str]:
        return {
            "RAY_DASHBOARD_URL": f"http://{control.address}:{DASHBOARD_PORT}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_raylet_start_wait_time_s": "300",  # on a busy machine
        }

    def start_head(self, control: Host, env: Mapping[str, str], logs: Path) -> None:
        dashboard = [f"--dashboard-host={control.address}", f"--dashboard-port={DASHBOARD_PORT}"]
        temporary = f"--temp-dir={Path(env['DAGSTER_HOME']).parent / 'ray'}"
        self._start(control, env, logs, "--head", f"--port={RAY_PORT}", "--num-cpus=0", temporary, *dashboard)

    def start_worker(self, host: Host, control: Host, env: Mapping[str, str], logs: Path) -> None:
        self._start(host, env, logs, f"--address={control.address}:{RAY_PORT}", "--num-cpus=4")

    def _start(self, host: Host, env: Mapping[str, str], logs: Path, *options: str) -> None:
        memory = ["--object-store-memory=100000000", "--disable-usage-stats"]
        command = [str(self.python.parent / "ray"), "start", f"--node-ip-address={host.address}", *memory, *options]
        with (logs / f"ray-{host.name}.log").open("ab") as log:
            process = host.popen(*command, env=env, log=log)
        if process.wait(900):
            raise RuntimeError((logs / f"ray-{host.name}.log").read_text()[-2000:])
        time.sleep(1)


def _environment() -> Path:
    """Programs of an environment with Ray on top of ours; made once, skipped loudly where pip cannot make it."""
    programs, made = ENVIRONMENT / "bin", ENVIRONMENT / "made.txt"
    with FileLock(f"{ENVIRONMENT}.lock"):
        wanted = "\n".join(REQUIREMENTS)
        if made.is_file() and made.read_text() == wanted:
            return programs
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        ours = Path(sys.prefix) / packages
        (ENVIRONMENT / packages / "ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
        pip = [programs / "python", "-m", "pip", "--disable-pip-version-check"]
        frozen = subprocess.run(
            [*pip, "freeze", "--exclude-editable"], capture_output=True, text=True, timeout=60, check=True
        )
        (ENVIRONMENT / "constraints.txt").write_text(frozen.stdout)
        install = ["install", "--quiet", "--constraint", ENVIRONMENT / "constraints.txt", *REQUIREMENTS]
        done = subprocess.run([*pip, *install], capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            pytest.skip(f"RAY IS NOT TESTED: it cannot be installed by pip: {last[:200]}")
        made.write_text(wanted)
    return programs
