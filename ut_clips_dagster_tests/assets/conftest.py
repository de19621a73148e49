from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ut_clips_dagster.simulator import SimulatorConfig
from ut_clips_dagster_tests.platform import TIME_SCALE, TestPlatform, running_platform


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestPlatform]:
    """Five sessions with clips, all of them known as partitions."""
    config = SimulatorConfig(sessions=5, clips_total=9, time_scale=TIME_SCALE, rate_limit=100)
    with running_platform(tmp_path, monkeypatch, config) as platform:
        yield platform
