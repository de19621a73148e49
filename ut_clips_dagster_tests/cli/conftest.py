from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer

SCALE = 200.0


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    config = SimulatorConfig(sessions=4, clips_total=6, time_scale=SCALE, rate_limit=100)
    with SimulatorServer(config) as server:
        settings = {
            **server.environment,
            "UT_CLIPS_ARCHIVE": str(tmp_path / "archive"),
            "UT_CLIPS_POLL_INTERVAL_S": str(3 / SCALE),
            "UT_CLIPS_TRANSCRIPTS": "off",
            "DAGSTER_HOME": str(tmp_path / "home"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def transcripts(simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it comes first
    """Transcripts are on, as they are for a user; two runs more of each `archive`."""
    monkeypatch.setenv("UT_CLIPS_TRANSCRIPTS", "on")
