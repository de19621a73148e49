"""The hosts are what they seem to be; and Dagster's state is as good in PostgreSQL as it is in files."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus

from ut_clips_dagster.assets.run_state import ended_by_others
from ut_clips_dagster.cli.demo import free_port
from ut_clips_dagster.run_launcher import WORKER_TAG
from ut_clips_dagster.simulator import SimulatorConfig
from ut_clips_dagster_tests.platform import ASSETS, TIME_SCALE, running_platform

from .bench import CONFIGURATION
from .lan import Host, inside, lan
from .postgres import postgres

ROOT = CONFIGURATION.parents[2]
SHIPPED = yaml.safe_load((ROOT / "dagster.yaml").read_text())
REMOTE = yaml.safe_load(CONFIGURATION.read_text())


def says(host: Host, *words: str) -> str:
    """What a command prints in a host, or how it ended."""
    process = host.popen(*words, env=os.environ, log=subprocess.PIPE)
    output, _ = process.communicate(timeout=60)
    return output.decode().strip() if process.returncode == 0 else f"exit code {process.returncode}"


def test_a_host_can_be_cut_off_and_killed_and_there_is_no_way_out_of_it() -> None:
    with lan() as network:
        a, b = network.host("a"), network.host("b")
        with inside(b):
            server = subprocess.Popen(
                ["python3", "-m", "http.server", "--bind", b.address, "9000"], stderr=subprocess.DEVNULL
            )
        try:
            reach = _connect(b)
            assert says(a, "hostname") == "a"
            assert "default" not in says(a, "ip", "route", "show", "table", "all")
            assert says(a, *reach) == "there"
            a.cut()
            assert says(a, *reach) == "exit code 1"
            a.join()
            assert says(a, *reach) == "there"
        finally:
            server.kill()
            server.wait()
        sleeper = a.popen("sleep", "1000", env=os.environ, log=subprocess.DEVNULL)
        a.kill()
        assert sleeper.wait(10) == -9
        assert a.processes("") == 0


def _connect(host: Host) -> tuple[str, ...]:
    code = (
        "import socket, time\n"
        "for _ in range(20):\n"
        f"    try: socket.create_connection(({host.address!r}, 9000), 2); print('there'); break\n"
        "    except ConnectionRefusedError: time.sleep(0.2)\n"
    )
    return ("python3", "-c", code)


@pytest.mark.timeout(600)
def test_a_run_with_its_state_in_postgres_and_what_it_thinks_when_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    here = {name: value for name, value in REMOTE.items() if name not in ("run_launcher", "compute_logs")}
    (home / "dagster.yaml").write_text(yaml.safe_dump(here))
    config = SimulatorConfig(sessions=2, clips_total=3, time_scale=TIME_SCALE, rate_limit=100)
    with running_platform(tmp_path, monkeypatch, config) as files, postgres(port=free_port(0)) as database:
        for name, value in database.environment.items():
            monkeypatch.setenv(name, value)
        with DagsterInstance.from_config(str(home)) as instance:
            platform = replace(files, instance=instance)
            first, last = platform.add_partitions()
            run = platform.run(first, last)
            assert run.success
            assert all(platform.materialized(asset) == {first, last} for asset in ASSETS)
            platform.assert_files_are_right()
            found = instance.get_run_by_id(run.run_id)
            assert found is not None
            assert found.status is DagsterRunStatus.SUCCESS
            assert WORKER_TAG in found.tags
            ended = ended_by_others(instance, run.run_id)
            assert ended()
            database.stop()
            assert not ended(), "a run that cannot ask is not ended"


def test_what_is_shipped_for_several_machines_differs_only_where_it_has_to() -> None:
    assert {name for name in REMOTE if REMOTE[name] != SHIPPED.get(name)} == {
        "storage", "run_launcher", "compute_logs", "run_monitoring"
    }  # fmt: skip
    assert SHIPPED.keys() <= REMOTE.keys()
    assert {**SHIPPED["run_monitoring"], "max_resume_run_attempts": 0} == REMOTE["run_monitoring"]
    assert REMOTE["storage"]["postgres"]["postgres_db"]["password"] == {"env": "DAGSTER_PG_PASSWORD"}
    assert "env_vars" not in REMOTE["run_launcher"]["config"]["ray"], "Ray shows them to everybody"
