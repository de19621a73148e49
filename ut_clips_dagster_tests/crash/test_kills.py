"""`kill -9` at random moments: a short form of `python -m ut_clips_dagster_tests.crash --kills 100`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kills import prove


@pytest.mark.long
def test_kills_at_random_moments_leave_no_wrong_file_and_lose_only_downloads_in_flight(tmp_path: Path) -> None:
    proof = prove(tmp_path, kills=3)
    assert proof.commands_killed == 1
    assert proof.repeated <= 4 * 3
