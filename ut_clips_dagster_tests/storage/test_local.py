"""What can go wrong in a directory: permissions, a full disk, processes that died."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage import local
from ut_clips_dagster.storage.local import LocalStore

PATH = "clips/study/session/clip.mp4"


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def archive(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "archive")


def test_the_uri_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert LocalStore(Path("data")).uri == str(tmp_path / "data")


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"")
    archive = LocalStore(tmp_path / "archive")
    for use in (
        archive.check_writable,
        lambda: archive.put_clip(PATH, [b"x"], "video/mp4"),
        lambda: archive.update_document("sessions/s/a.json", lambda _: b"{}"),
        lambda: archive.size_bytes(PATH),
        lambda: list(archive.walk("clips/")),
    ):
        with pytest.raises(StorageError, match=r"Check UT_CLIPS_ARCHIVE, its permissions and the free space"):
            use()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            LocalStore(tmp_path / "archive").check_writable()
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_directory_that_refuses_is_named_with_its_reason(
    archive: LocalStore, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=os.strerror(error)):
        archive.check_writable()


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_disk_that_is_full_at_any_step_leaves_nothing(
    archive: LocalStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    archive.check_writable()
    full = mock.Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with monkeypatch.context() as patched:
        patched.setattr(local.os, step, full)
        with pytest.raises(StorageError, match="No space left on device"):
            archive.put_clip(PATH, [b"x" * 1000], "video/mp4")
    assert files(Path(archive.uri)) == []
    archive.put_clip(PATH, [b"x" * 1000], "video/mp4")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    where = tmp_path / "small"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    archive = LocalStore(small_disk / "archive")
    archive.put_clip("clips/a/b/first.mp4", [b"f" * 300_000], "video/mp4")
    archive.update_document("sessions/s/a.json", lambda _: b"before")
    with pytest.raises(StorageError, match="No space left on device"):
        archive.put_clip(PATH, (b"x" * 100_000 for _ in range(20)), "video/mp4")
    with pytest.raises(StorageError, match="No space left on device"):
        archive.update_document("sessions/s/a.json", lambda _: b"x" * 2_000_000)
    assert archive.read_document("sessions/s/a.json") == b"before"
    assert sorted(archive.walk("")) == ["clips/a/b/first.mp4", "sessions/s/a.json"]
    archive.put_clip(PATH, [b"x" * 100_000], "video/mp4")


def test_bytes_are_synced_before_they_have_their_name(archive: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            steps.append(name)
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(local.os, "fsync", noted("fsync", os.fsync))
    monkeypatch.setattr(local.os, "link", noted("link", os.link))
    archive.put_clip(PATH, [b"x"], "video/mp4")
    assert steps == ["fsync", "link", "fsync"]  # the file, its name, the directory


def test_what_a_killed_run_left_is_cleared_after_a_day(archive: LocalStore) -> None:
    archive.check_writable()
    temporary = Path(archive.uri) / ".tmp"
    old, new = temporary / "old.part", temporary / "new.part"
    for left in (old, new):
        left.write_bytes(b"half a clip")
    os.utime(old, (time.time() - 25 * 3600, time.time() - 25 * 3600))
    archive.check_writable()
    assert files(Path(archive.uri)) == [".tmp/new.part"]


def test_a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one_and_is_named(
    archive: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.put_clip(PATH, [b"x"], "video/mp4")
    directory, scandir = str(Path(archive.uri) / "clips/study"), os.scandir

    def refused(path: str) -> object:
        if path == directory:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(StorageError, match=f"Cannot list clips/study in {archive.uri}: Permission denied"):
        list(archive.walk("clips/"))


@pytest.mark.parametrize("linked", ["clips", "clips/study", "clips/study/session"])
def test_a_directory_that_is_a_link_is_walked_and_no_loop_is(archive: LocalStore, tmp_path: Path, linked: str) -> None:
    archive.put_clip(PATH, [b"x"], "video/mp4")
    directory, elsewhere = Path(archive.uri) / linked, tmp_path / "another disk"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    for loop in (directory / "up", directory / "down"):
        loop.symlink_to(archive.uri if loop.name == "up" else elsewhere)
    for prefix in ("", "clips/", "clips/study/session/"):
        assert list(archive.walk(prefix)) == [PATH]
