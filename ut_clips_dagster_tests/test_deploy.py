"""The units of `deploy/`: whole, in the right order, shut in, and true to what the code calls by name."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
SERVICES = sorted(DEPLOY.glob("*.service"))
SHARED = DEPLOY / "ut-clips-.service.d" / "shared.conf"
LEAST_EXPOSED = 4.0
INSTALLED = "/opt/ut_clips_dagster"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (apt-get install systemd)"
)


def unit(path: Path) -> configparser.RawConfigParser:
    """A unit's settings; of those that are given more than once all, a line each."""
    parsed = configparser.RawConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(path.read_text())
    return parsed


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYSTEMD_COLORS": "0", "LC_ALL": "C"}
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, env=environment, timeout=60, check=False
    )


@needs_systemd
@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_may_do_little_more_than_it_has_to(service: Path) -> None:
    """9.6 is a service without any protection."""
    output = analyze("security", "--offline=true", str(service)).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
    assert exposure, output
    assert float(exposure[1]) < LEAST_EXPOSED, output


@needs_systemd
def test_the_units_are_understood(tmp_path: Path) -> None:
    """But for the commands, which are not at their place here: so they are taken to where they are."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for unit_file in (*SERVICES, *DEPLOY.glob("*.timer")):
        text = unit_file.read_text()
        for name in re.findall(rf"{INSTALLED}/\.venv/bin/([\w-]+)", text):
            (commands / name).touch(mode=0o755)
        (tmp_path / unit_file.name).write_text(text.replace(f"{INSTALLED}/.venv/bin", str(commands)))
    shutil.copytree(SHARED.parent, tmp_path / SHARED.parent.name)
    units = [str(path) for path in tmp_path.glob("ut-clips-*.*") if path.is_file()]

    done = analyze("verify", *units)

    ours = [line for line in done.stderr.splitlines() if "ut-clips" in line or str(tmp_path) in line]
    assert ours == []
    assert len(units) == len(SERVICES) + 1


def test_the_daemon_and_the_webserver_start_after_the_code_server_that_they_ask() -> None:
    code_server = unit(DEPLOY / "ut-clips-code-server.service")["Service"]
    port = re.search(r"-p (\d+)", code_server["ExecStart"])
    assert port
    assert f"grpc-health-check -p {port[1]};" in code_server["ExecStartPost"], "started is when it answers"
    (location,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["port"] == int(port[1])
    for name in ("daemon", "webserver"):
        parsed = unit(DEPLOY / f"ut-clips-{name}.service")
        assert "ut-clips-code-server.service" in parsed["Unit"]["After"].split()
        assert "ut-clips-code-server.service" in parsed["Unit"]["Wants"].split()
        assert "-w deploy/workspace.yaml" in parsed["Service"]["ExecStart"]


def test_the_code_server_is_one_process_so_that_none_outlives_the_one_that_serves() -> None:
    """`dagster code-server start` goes on, and answers the health check, when its inner process has ended."""
    code_server = unit(DEPLOY / "ut-clips-code-server.service")["Service"]
    assert "/dagster api grpc -m " in code_server["ExecStart"]
    assert "--heartbeat" not in code_server["ExecStart"]
    assert 'CMD ["dagster", "api", "grpc", "-h"' in (DEPLOY / "Dockerfile").read_text()


def test_the_code_server_tries_the_settings_and_brings_the_instances_configuration_before_it_starts() -> None:
    text = (DEPLOY / "ut-clips-code-server.service").read_text()
    before = re.findall(r"^ExecStartPre=(.+)$", text, re.MULTILINE)
    assert before == [
        "/usr/bin/install -C -D -m 0640 dagster.yaml ${DAGSTER_HOME}/dagster.yaml",
        f"-{INSTALLED}/.venv/bin/ut-clips check-settings",
    ]
    assert (DEPLOY.parent / "dagster.yaml").is_file()


def test_what_all_services_share_leaves_the_run_launcher_what_it_reads() -> None:
    shared = unit(SHARED)["Service"]
    assert shared["User"] == "ut-clips"
    assert shared["StateDirectory"] == "ut_clips_dagster"
    assert "ProcSubset" not in shared, "the boot ID is below /proc/sys"
    assert (shared["RuntimeDirectory"], shared["RuntimeDirectoryPreserve"]) == ("ut-clips", "yes"), "of alerts"
    for service in SERVICES:
        assert service.name.startswith("ut-clips-"), "the shared part goes by the name"
        assert shared.keys().isdisjoint(unit(service)["Service"].keys()), f"{service.name} has something of it, too"


def test_no_drop_in_for_all_services_keeps_health_from_telling_that_the_archive_is_not_mounted() -> None:
    """A dependency stops the unit that has it; a path that is not there does, too (226/NAMESPACE), but for a `-`."""
    runbook = (DEPLOY.parent / "docs" / "operating.md").read_text()
    blocks = "\n".join(re.findall(r"```ini\n(.*?)```", runbook, re.DOTALL))
    named = re.findall(r"# /etc/systemd/system/(\S+)\.d/\S+\.conf.*\n((?: *[^#\s].*\n|\n)+)", blocks)
    assert {"ut-clips-.service", "ut-clips-code-server.service"} <= {name for name, _ in named}
    for_all = [text for name, text in named if name == "ut-clips-.service"]

    for text in (*for_all, SHARED.read_text()):
        assert "[Unit]" not in text
        assert re.findall(r"ReadWritePaths=(?!-)", text) == []
    assert "RequiresMountsFor" not in re.sub(r"```ini\n.*?```", "", runbook, flags=re.DOTALL), "it is for single units"


def test_the_timer_asks_for_health_and_alerts() -> None:
    service = unit(DEPLOY / "ut-clips-health.service")["Service"]
    assert service["ExecStart"] == f"{INSTALLED}/.venv/bin/ut-clips health --alert"
    assert service["Type"] == "oneshot"
    assert "OnUnitInactiveSec" in unit(DEPLOY / "ut-clips-health.timer")["Timer"]


def in_the_image() -> str:
    return (DEPLOY / "requirements.lock").read_text()


def installed_for_ray() -> str:
    """What is required by the extras that docs/several_machines.md installs, and by the package itself."""
    page = (DEPLOY.parent / "docs" / "several_machines.md").read_text()
    extras = re.search(r"pip install 'ut_clips_dagster\[([\w,]*ray[\w,]*)\]'", page)
    assert extras
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(DEPLOY.parent / "setup.cfg")
    required = [setup["options.extras_require"][extra] for extra in extras[1].split(",")]
    return "\n".join([setup["options"]["install_requires"], *required])


@pytest.mark.parametrize(
    ("configuration", "installed"),
    [
        ("kubernetes/dagster.yaml", in_the_image),
        ("kubernetes/values.yaml", in_the_image),
        ("ray/dagster.yaml", installed_for_ray),
    ],
)
def test_what_an_instance_is_made_of_is_installed_where_it_runs(
    configuration: str, installed: Callable[[], str]
) -> None:
    packages = set(re.findall(r"^ *module: (\w+)", (DEPLOY / configuration).read_text(), re.MULTILINE))
    assert "ut_clips_dagster" in packages
    requirements = re.findall(r"^[\w-]+", installed(), re.MULTILINE)
    assert packages <= {"ut_clips_dagster", *(name.replace("-", "_") for name in requirements)}
