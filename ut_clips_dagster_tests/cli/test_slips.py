"""Options and environments that nobody means: one message and exit code 1 or 2, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ut_clips_dagster.cli.console import TRACEBACK
from ut_clips_dagster.cli.main import app

NOBODYS = "~nobody-of-that-name/x"
NO_TIME = "is neither a version nor a time"
NO_HOME = "names no home directory"
REFUSED = "Invalid value for"


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["prune", "--keep-days", "99999999"], REFUSED),
        (["plan", "--sessions", "99999999999999999999"], REFUSED),
        (["demo", "--port", "99999"], REFUSED),
        (["gallery", "--port", "99999"], REFUSED),
        (["gallery", "--host", ""], "--host is blank"),
        (["gallery", "--host", "a..b"], "cannot listen on a..b"),
        (["gallery", "--cache", NOBODYS], NO_HOME),
        (["gallery", "--token-file", NOBODYS], NO_HOME),
        (["export", NOBODYS], NO_HOME),
        (["gallery", "--token-file", "/dev/zero"], "is shorter than"),
        (["export", ""], "names no path"),
        (["export", "\udcff"], "names no path"),
        (["export", "x", "--where", "\udcff"], "The query failed"),
        (["sql", "\udcff"], "The query failed"),
        (["sql", "select 1", "--as-of", ""], NO_TIME),
        (["sql", "select 1", "--as-of", "9" * 5000], NO_TIME),
        (["sql", "select 1", "--as-of", "0001-01-01T00:00+14:00"], NO_TIME),
        (["sql", "select 1", "--as-of", "9999-12-31T23:59-14:00"], NO_TIME),
        (["simulator", "--port", "99999"], REFUSED),
        (["simulator", "--time-scale", "nan"], REFUSED),
        (["simulator", "--fault", "nonsense"], "not a fault"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_an_option_that_cannot_be_meant_is_explained(command: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, command)

    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code in {1, 2}, reason in result.output) == (True, True), result.output


def test_the_largest_plan_is_counted_at_once() -> None:
    result = CliRunner().invoke(app, ["plan", "--sessions", "1000000000"])

    assert (result.exit_code, "for 1000000000 sessions" in result.output) == (0, True), result.output


def test_what_nobody_foresaw_is_one_message_and_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a signed link")

    monkeypatch.setattr("ut_clips_dagster.cli.sql.run_sql", broken)
    told = CliRunner().invoke(app, ["sql", "select 1"])
    monkeypatch.setenv(TRACEBACK, "1")
    raised = CliRunner().invoke(app, ["sql", "select 1"])

    assert told.exit_code == 1
    assert "unexpected ZeroDivisionError" in told.output
    assert f"{TRACEBACK}=1" in told.output
    assert "a signed link" not in told.output
    assert isinstance(raised.exception, ZeroDivisionError)


def test_a_terminal_without_utf_8_shows_what_it_can() -> None:
    command = [sys.executable, "-c", "from ut_clips_dagster.cli import app; app()", "sql", "select '☃' as a"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}

    answer = subprocess.run([*command, "--format", "csv"], check=True, capture_output=True, text=True, env=environment)

    assert answer.stdout == "a\n\\u2603\n"
