from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer
from ut_clips_dagster_tests.cli.commands import invoke

SCALE = 200.0
ARCHIVE, HOME = "archive", "home"


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """Four sessions with six clips, for commands that are run in that folder; the same each time."""
    (folder / HOME).mkdir()
    monkeypatch.chdir(folder)
    config = SimulatorConfig(sessions=4, clips_total=6, time_scale=SCALE, rate_limit=100)
    with SimulatorServer(config) as server:
        settings = {
            **server.environment,
            "UT_CLIPS_ARCHIVE": str(folder / ARCHIVE),
            "UT_CLIPS_POLL_INTERVAL_S": str(3 / SCALE),
            "UT_CLIPS_TRANSCRIPTS": "off",
            "DAGSTER_HOME": str(folder / HOME),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    with served(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture(scope="session")
def archived_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after `ut-clips archive`: it takes five seconds."""
    folder = tmp_path_factory.mktemp("archived")
    with pytest.MonkeyPatch.context() as monkeypatch, served(folder, monkeypatch):
        assert invoke("archive")[0] == 0
    return folder


@pytest.fixture
def archived(archived_once: Path, simulator: SimulatorServer, tmp_path: Path) -> SimulatorServer:
    """As after `ut-clips archive`."""
    for name in (ARCHIVE, HOME):
        shutil.copytree(archived_once / name, tmp_path / name, dirs_exist_ok=True)
    return simulator


@pytest.fixture
def transcripts(simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it comes first
    """Transcripts are on, as they are for a user; two runs more of each `archive`."""
    monkeypatch.setenv("UT_CLIPS_TRANSCRIPTS", "on")
