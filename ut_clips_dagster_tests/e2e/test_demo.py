"""The README's first command, as a person runs it: simulator, Dagster daemon, webserver and sensors for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

UT_CLIPS = Path(sys.executable).parent / "ut-clips"


def test_the_demo_ends_by_itself_with_all_sessions_archived_and_prints_the_table(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("UT_CLIPS", "DAGSTER"))}

    demo = subprocess.run(
        [str(UT_CLIPS), "demo", "--exit", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "(12 of 12)" in demo.stdout
    assert "clip_metadata: 29 clips" in demo.stdout
    archive = tmp_path / ".demo" / "archive"
    assert len(list((archive / "clips").rglob("*.mp4"))) == 29
    verify = subprocess.run(
        [str(UT_CLIPS), "verify", "--read-data"],
        cwd=tmp_path,
        env={**environment, "UT_CLIPS_ARCHIVE": str(archive)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert verify.returncode == 0, verify.stdout + verify.stderr
