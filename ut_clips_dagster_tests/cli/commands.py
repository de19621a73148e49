"""Runs commands in this process, or in another one that may only read."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import typer
from typer.testing import CliRunner

from ut_clips_dagster.cli import app

NOBODY = 65534
_WITHOUT_CAPABILITIES = """
import ctypes, os, sys
for capability in range(64):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: from the next exec on root is like any other
os.execv(sys.argv[1], sys.argv[1:])
"""


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.output


def give_away(root: Path) -> None:
    """Make a tree another user's, who lets all read it and nobody write."""
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)


def take_back(root: Path) -> None:
    """So that the test's directory can be removed."""
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def invoke_as_a_reader(*commands: str) -> list[tuple[int, str]]:
    """Commands in a process that has no rights but those the files' modes give."""
    command = [sys.executable, "-m", "ut_clips_dagster_tests.cli.commands", *commands]
    dropped = [sys.executable, "-c", _WITHOUT_CAPABILITIES, *command] if os.geteuid() == 0 else command
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(dropped, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [(code, output) for code, output in json.loads(done.stdout.splitlines()[-1])]


if __name__ == "__main__":
    typer.echo(json.dumps([invoke(*shlex.split(command)) for command in sys.argv[1:]]))
