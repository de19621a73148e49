"""`ut-clips copy`: what it says, how it ends, and that it goes on where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ut_clips_dagster.archive.copying import ArchiveCopy
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster_tests.cli.test_commands import invoke

SESSION, STUDY = "11111111-1111-1111-1111-111111111111", "99999999-9999-9999-9999-999999999999"
FILES = 300


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fill(files: int) -> LocalStore:
    store = LocalStore(Path("old"))
    for number in range(files):
        session_id = f"{number % 20:08}{SESSION[8:]}"
        store.put_clip(f"clips/{STUDY}/{session_id}/{number}.mp4", [os.urandom(100_000)], "video/mp4")
        store.update_document(f"sessions/{session_id}/notes.json", lambda _: b"{}")
    return store


def held(store: LocalStore) -> dict[str, bytes]:
    return {path: b"".join(store.read(path)) for top in ("clips/", "sessions/") for path in store.walk(top)}


def test_a_copy_says_what_it_did_and_what_is_next(tmp_path: Path) -> None:
    fill(2)
    code, output = invoke("copy", "old", "new")
    assert code == 0, output
    assert "2 sessions: 2 files (0.2 MB) and 2 documents copied, 0 were there already. Rows: none." in output
    assert f"Next: set UT_CLIPS_ARCHIVE={tmp_path / 'new'}, then `ut-clips verify --read-data`." in output
    code, output = invoke("copy", "old", "new")
    assert (code, "0 files (0.0 MB) and 0 documents copied, 4 were there already" in output) == (0, True), output


def test_what_is_otherwise_at_the_new_place_is_named_and_exits_2() -> None:
    fill(1)
    LocalStore(Path("new")).update_document(f"sessions/00000000{SESSION[8:]}/notes.json", lambda _: b"other")
    code, output = invoke("copy", "old", "new")
    assert (code, "1 otherwise at the new place, and left as they are there: sessions/" in output) == (2, True), output
    assert "Next:" not in output


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("old", "old/", "are one place"),
        ("old", "old/below", "are one place, or one lies within the other"),
        ("gs://bucket/a/b", "gs://bucket/a", "one lies within the other"),
        ("old", "ftp://host", "must be a directory, gs://bucket/prefix or s3://bucket/prefix"),
        ("none", "new", "There is no archive in"),
        ("old", "", "SRC or DST is empty"),
        (" ", "new", "SRC or DST is empty"),
    ],
)
def test_places_that_cannot_be_copied_between_are_named(
    source: str, target: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    fill(1)
    code, output = invoke("copy", source, target)
    assert (code, says in output) == (1, True), output


def test_an_interrupted_copy_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ArchiveCopy, "run", interrupted)
    code, output = invoke("copy", "old", "new")
    assert (code, "run the command again to go on" in output) == (130, True), output


def test_a_killed_copy_is_gone_on_with_and_left_no_wrong_file(tmp_path: Path) -> None:
    source = fill(FILES)
    process = subprocess.Popen([Path(sys.executable).parent / "ut-clips", "copy", "old", "new"], stdout=subprocess.PIPE)
    new = LocalStore(tmp_path / "new")
    while process.poll() is None and len(list(new.walk("clips/"))) < FILES // 10:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    process.communicate()
    whole, part = held(source), held(new)
    assert 0 < len(part) < len(whole)
    assert all(whole[path] == content for path, content in part.items())
    code, output = invoke("copy", "old", "new")
    assert code == 0, output
    assert held(new) == whole
