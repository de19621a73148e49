"""The README's first command, as a person runs it: simulator, Dagster daemon, webserver and sensors for real."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UT_CLIPS = Path(sys.executable).parent / "ut-clips"
DEMO = [str(UT_CLIPS), "demo", "--port", "0"]


@pytest.fixture
def environment() -> dict[str, str]:
    """A person's own; all of the demo is on loopback, so that a proxy, here one that is down, does not matter."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("UT_CLIPS", "DAGSTER"))}
    return {**kept, "HTTP_PROXY": "http://127.0.0.1:9"}


@contextmanager
def nothing_left_running() -> Iterator[int]:
    """A program's standard input: whatever it starts inherits it, and after the block nobody may hold it any more."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as held, pytest.raises(BrokenPipeError):
        held.write(b"\n")


def test_the_demo_ends_by_itself_with_all_sessions_archived_and_prints_the_table(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with nothing_left_running() as stdin:
        demo = subprocess.run(
            [*DEMO, "--exit"],
            cwd=tmp_path,
            env=environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=290,
            check=False,
        )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "(12 of 12)" in demo.stdout
    assert re.search(r"^Gallery: http://127\.0\.0\.1:\d+/\?token=\S{40,}$", demo.stdout, re.MULTILINE)
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


def test_sigterm_ends_the_demo_with_all_it_started_and_prints_the_table(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with (
        nothing_left_running() as stdin,
        subprocess.Popen(DEMO, cwd=tmp_path, env=environment, stdin=stdin, stdout=subprocess.PIPE, text=True) as demo,
    ):
        assert demo.stdout is not None
        assert "Dagster UI" in demo.stdout.readline()
        demo.send_signal(signal.SIGTERM)
        demo.send_signal(signal.SIGTERM)  # `timeout make demo` sends it twice

        assert "clip_metadata: 0 clips" in demo.stdout.read()
    assert demo.returncode == 0


STUBBORN_DAGSTER = """#!/bin/sh
trap '' INT TERM
sleep 120
"""
SIGNALLED_WHEN = """
import os, signal, sys
import ut_clips_dagster.cli.demo as demo
from ut_clips_dagster.cli import app

moment, sys.executable, demo.END_WITHIN_S = sys.argv[1], sys.argv[2], 0.5
place, name = {"Dagster has just started": (demo.subprocess, "Popen"), "Dagster ends": (demo.os, "killpg")}[moment]
really = getattr(place, name)


def interrupted(*arguments, **options):
    done = really(*arguments, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    return done


setattr(place, name, interrupted)
if moment == "Dagster ends":
    demo._watch = lambda *_, **__: True
app(["demo", "--exit", "--port", "0"])
"""


@pytest.mark.parametrize(("moment", "exit_code"), [("Dagster has just started", 130), ("Dagster ends", 0)])
def test_nothing_is_left_running_even_of_a_dagster_that_ignores_signals_and_only_a_whole_demo_exits_0(
    tmp_path: Path, environment: dict[str, str], moment: str, exit_code: int
) -> None:
    dagster = tmp_path / "dagster"
    dagster.write_text(STUBBORN_DAGSTER)
    dagster.chmod(0o755)

    with nothing_left_running() as stdin:
        demo = subprocess.run(
            [sys.executable, "-c", SIGNALLED_WHEN, moment, dagster],
            cwd=tmp_path,
            env=environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert "clip_metadata: 0 clips" in demo.stdout, demo.stderr
    assert demo.returncode == exit_code
