"""`ut-clips verify`: exit codes, notes, and commands that can be copied."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ut_clips_dagster.cli.main import app

SESSION_ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERTESTING_CLIENT_ID", "USERTESTING_CLIENT_SECRET", "USERTESTING_TEST_IDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("place", [".", "mistyped archive"])
def test_empty_archive_is_sound_without_credentials_and_verify_says_where_it_found_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / place))
    result = run("verify", "--read-data")
    assert result.exit_code == 0
    assert result.output == (
        f"0 sessions verified (every byte read): no session is stored in {tmp_path / place} yet. "
        "If the archive is elsewhere, correct UT_CLIPS_ARCHIVE.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_difference_ends_with_2_and_its_command_stands_alone_on_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "sessions" / SESSION_ID
    folder.mkdir(parents=True)
    (folder / "clip_list.json").write_text("[red]not what was written")
    result = run("verify")
    assert result.exit_code == 2
    assert f"  ut-clips repair --session {SESSION_ID}" in result.output.splitlines()


def test_object_that_no_document_names_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "left.mp4").write_bytes(b"x")
    result = run("verify")
    assert result.exit_code == 0
    assert "no session records 1 object, left by" in result.output


def test_folder_that_is_no_session_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sessions" / "notes").mkdir(parents=True)
    (tmp_path / "sessions" / "notes" / "a.json").write_text("{}")
    assert run("verify").exit_code == 0


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_place_where_nothing_can_be_read_is_one_error(tmp_path: Path, command: str) -> None:
    for number in range(25):
        folder = tmp_path / "sessions" / f"{number:08}{SESSION_ID[8:]}"
        folder.mkdir(parents=True)
        (folder / "session.json").symlink_to("session.json")
    result = run(command)
    assert result.exit_code == 1
    assert "Cannot read sessions/00000020" in result.output.splitlines()[-1]


def test_repair_refuses_what_is_no_session() -> None:
    result = run("repair", "--session", "x")
    assert result.exit_code == 1


def test_repair_of_a_sound_archive_does_nothing() -> None:
    result = run("repair")
    assert result.exit_code == 0
    assert "0 sessions looked at: 0 mended" in result.output
