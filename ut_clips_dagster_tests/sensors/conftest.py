from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ut_clips_dagster.simulator import SimulatorConfig
from ut_clips_dagster_tests.platform import TIME_SCALE, TestPlatform, running_platform


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestPlatform]:
    """Twelve sessions at UserTesting, none of them known yet."""
    config = SimulatorConfig(
        sessions=12, clips_total=12, time_scale=TIME_SCALE, rate_limit=100, link_ttl_s=900 * TIME_SCALE
    )
    with running_platform(tmp_path, monkeypatch, config) as platform:
        yield platform
