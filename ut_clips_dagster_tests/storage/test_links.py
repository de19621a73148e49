"""Where hard links are refused, clips are stored all the same, as safely, and the table's commits still conflict.

The filesystem is a real exFAT where the machine can mount one (exfat-fuse, root); else the same tests run with
`os.link` refusing as exFAT, SMB and others do.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ut_clips_dagster.errors import StorageConflictError, StorageError
from ut_clips_dagster.storage import links
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable, as_clip_metadata

PATH = "clips/study/session/clip.mp4"
WRITERS = 4


def refusing(error: int) -> Callable[..., None]:
    """An `os.link` as a filesystem without hard links has it: a name that is taken is noticed first."""

    def link(_: Path, target: Path) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        raise OSError(error, os.strerror(error))

    return link


@pytest.fixture(params=["exFAT", "EPERM", "EOPNOTSUPP", "ENOSYS", "EMLINK"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory whose filesystem refuses hard links."""
    if request.param != "exFAT":
        monkeypatch.setattr(os, "link", refusing(getattr(errno, request.param)))
        yield tmp_path / "archive"
        return
    where, image = tmp_path / "exfat", tmp_path / "exfat.img"
    where.mkdir()
    image.touch()
    os.truncate(image, 32 * 1024 * 1024)
    device = ""
    try:
        said("mkfs.exfat", image)
        device = said("losetup", "--find", "--show", image)
        said("mount.exfat-fuse", device, where)
    except (OSError, subprocess.CalledProcessError):
        if device:
            said("losetup", "--detach", device)
        pytest.skip("no exFAT can be mounted here")
    try:
        assert links.refuses_links(where)
        yield where / "archive"
    finally:
        said("umount", where)
        said("losetup", "--detach", device)


def said(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def names(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.name != ".lock")


def test_a_clip_is_stored_adopted_and_never_overwritten(root: Path) -> None:
    store = LocalStore(root)
    store.check_writable()
    assert not store.put_clip(PATH, [b"first ", b"bytes"], "video/mp4").adopted
    assert store.put_clip(PATH, [b"first bytes"], "video/mp4").adopted
    with pytest.raises(StorageConflictError, match="left as it is"):
        store.put_clip(PATH, [b"other bytes"], "video/mp4")
    store.update_document("sessions/s/a.json", lambda _: b"1")
    store.update_document("sessions/s/a.json", lambda before: (before or b"") + b"2")
    assert (root / PATH).read_bytes() == b"first bytes"
    assert store.read_document("sessions/s/a.json") == b"12"
    assert sorted(store.walk("")) == names(root) == [PATH, "sessions/s/a.json"]


def write(root: Path, number: int, same: bool, results: Any) -> None:
    """A writer in a process of its own."""
    os.link = refusing(errno.EPERM)  # type: ignore[assignment]
    store = LocalStore(root)
    for name in range(20):
        data = b"the same" if same else f"of writer {number}".encode()
        try:
            store.put_clip(f"clips/a/b/{name}.mp4", [data] * 1000, "video/mp4")
        except StorageConflictError:
            continue
        results.put((name, number))


@pytest.mark.parametrize("same", [True, False])
def test_of_processes_that_store_the_same_name_one_wins_and_none_overwrites(tmp_path: Path, same: bool) -> None:
    context = multiprocessing.get_context("fork" if sys.platform != "darwin" else "spawn")
    results = context.SimpleQueue()
    writers = [context.Process(target=write, args=(tmp_path, n, same, results)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    won: dict[int, list[int]] = {}
    while not results.empty():
        name, number = results.get()
        won.setdefault(name, []).append(number)
    assert {name: len(numbers) for name, numbers in won.items()} == dict.fromkeys(range(20), WRITERS if same else 1)
    for name, numbers in won.items():
        expected = b"the same" if same else f"of writer {numbers[0]}".encode()
        assert (tmp_path / f"clips/a/b/{name}.mp4").read_bytes() == expected * 1000
    assert all(name.startswith("clips/a/b/") for name in names(tmp_path))


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.tmp` on another device than `clips` and `sessions`."""
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if ".tmp" in self.parts and ".tmp" not in Path(target).parts:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(self, target)

    monkeypatch.setattr(os, "link", refusing(errno.EXDEV))
    monkeypatch.setattr(Path, "replace", replace)


def test_another_device_takes_clips_and_documents_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)
    store = LocalStore(tmp_path)
    store.check_writable()
    left = tmp_path / "clips/study/session/.clip.mp4.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of what a killed process copied, and longer than all of it")
    assert not store.put_clip(PATH, [b"all bytes"], "video/mp4").adopted
    with pytest.raises(StorageConflictError):
        store.put_clip(PATH, [b"other"], "video/mp4")
    store.update_document("sessions/s/a.json", lambda _: b"1")
    store.update_document("sessions/s/a.json", lambda _: b"2")
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == {
        PATH: b"all bytes",
        "sessions/s/a.json": b"2",
    }


def test_a_disk_that_is_full_during_the_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(monkeypatch)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(links.shutil, "copyfileobj", full)
    with pytest.raises(StorageError, match="No space left on device"):
        LocalStore(tmp_path).put_clip(PATH, [b"x" * 1000], "video/mp4")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_filesystem_that_cannot_sync_directories_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(error, os.strerror(error))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store = LocalStore(tmp_path)
    store.check_writable()
    assert not store.put_clip(PATH, [b"x"], "video/mp4").adopted


@pytest.mark.parametrize(
    ("what", "refusal", "says"),
    [
        ("fsync", OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
        ("mkdir", OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)), "File name too long"),
        ("link", OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system"),
        ("lock", NotImplementedError(), "no file locks"),
        ("lock", OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)), "No locks available"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, refusal: Exception, says: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise refusal

    if what == "lock":
        monkeypatch.setattr(links.FileLock, "acquire", refuse)
    else:
        monkeypatch.setattr(os, what, refuse)
    with pytest.raises(StorageError, match=says):
        LocalStore(tmp_path / "archive").check_writable()


def test_a_probe_that_was_killed_is_no_object_and_goes_after_a_day(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    left = tmp_path / "clips/.probe/left/name.mp4"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    store.check_writable()
    assert left.exists()
    assert list(store.walk("")) == []
    os.utime(left.parent, (0, 0))
    store.check_writable()
    assert not left.parent.exists()


def rows(session_id: str, name: str = "clip") -> pd.DataFrame:
    empty = dict.fromkeys(SCHEMA.names)
    return as_clip_metadata([{**empty, "session_id": session_id, "clip_uuid": "c", "clip_name": name, "listed": True}])


def test_rows_are_written_replaced_and_compacted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ut_clips_dagster.storage.compaction.COMPACT_ABOVE_FILES", 2)
    table = MetadataTable(str(root))
    for session_id in ("s1", "s2", "s3", "s1"):
        table.replace(session_id, rows(session_id))
    assert table.compact()
    table.rewrite(table.read())
    assert sorted(MetadataTable(str(root)).read()["session_id"]) == ["s1", "s2", "s3"]


def test_of_writers_that_commit_at_the_same_time_none_loses_a_row(root: Path) -> None:
    """The lock is the file's, not the process's: threads meet at it as processes do."""

    def write_all(name: str) -> None:
        table = MetadataTable(str(root))
        for number in range(4):
            table.replace(f"{name}{number}", rows(f"{name}{number}"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write_all, "abc"))
    found = MetadataTable(str(root)).read()["session_id"]
    assert sorted(found) == sorted(f"{name}{number}" for name in "abc" for number in range(4))
