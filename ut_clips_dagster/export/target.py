"""The directory that an export is in: whose it is, and which of its files the export itself has written.

A hidden directory in it holds a journal: a path is written down before its file is, and again, with size, time and
checksum, when the file is whole. So a killed export goes on where it was, and nothing of anybody else's is ever
overwritten or removed.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from filelock import FileLock, Timeout

from ut_clips_dagster.errors import SettingsError, StorageError

HOME = ".ut-clips-export"
"""Hidden, so that loaders pass over it."""
ABOUT, JOURNAL, LOCK, PARTS = "export.json", "journal.jsonl", "lock", "parts"
VERSION = 1


@dataclass(frozen=True)
class Written:
    """A file of the export, as it was when it became whole."""

    size_bytes: int
    mtime_ns: int
    content: str
    """What it holds, in a word: two of the same word hold the same."""
    members: tuple[tuple[str, str], ...] = ()
    """Of a shard: key and content of each of its samples."""


class Target:
    """An export's directory; use `opened`."""

    def __init__(self, root: Path, journal: TextIO, files: dict[str, Written | None]) -> None:
        self.root = root
        self.home = root / HOME
        self._journal = journal
        self._files = files
        self._lock = threading.Lock()
        self._directories: set[Path] = set()

    @classmethod
    @contextmanager
    def opened(cls, root: Path, kind: str) -> Iterator[Target]:
        """Make the directory an export of that format, or go on with the one that is there.

        Raises:
            SettingsError: it holds something else, another format's export, or another process exports into it.
        """
        _check(root, kind)
        home = root / HOME
        home.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(home / LOCK, timeout=0):
                if not (home / ABOUT).exists():
                    _replace(home / ABOUT, json.dumps({"version": VERSION, "format": kind}).encode())
                shutil.rmtree(home / PARTS, ignore_errors=True)
                (home / PARTS).mkdir()
                files = _read(home / JOURNAL)
                with (home / JOURNAL).open("a", encoding="utf-8") as journal:
                    journal.write("\n")  # ends the line that a killed process began
                    yield cls(root, journal, files)
        except Timeout:
            raise SettingsError(
                f"Another process exports into {root}. Wait for it, or take another directory."
            ) from None

    def holds(self, path: str, content: str) -> bool:
        """Whether the export wrote this file, with this content, and it has not changed since."""
        written = self._files.get(path)
        if written is None or written.content != content:
            return False
        try:
            now = (self.root / path).stat()
        except FileNotFoundError:
            return False
        return (now.st_size, now.st_mtime_ns) == (written.size_bytes, written.mtime_ns)

    def whole(self) -> dict[str, Written]:
        """The files that are whole, by their paths."""
        return {path: written for path, written in self._files.items() if written}

    def claim(self, paths: Iterable[str]) -> None:
        """Write down what will be written, before it is.

        Raises:
            SettingsError: one of them is there, and not of this export.
        """
        new = [path for path in paths if path not in self._files]
        for path in new:
            if os.path.lexists(self.root / path):
                raise SettingsError(f"{self.root / path} is not of this export. Nothing was overwritten; move it away.")
        self._note([{"path": path} for path in new])
        self._files.update(dict.fromkeys(new))

    def part(self) -> Path:
        """A name to write under until the file is whole."""
        return self.home / PARTS / uuid.uuid4().hex

    def place(self, part: Path, path: str, content: str, members: tuple[tuple[str, str], ...] = ()) -> None:
        """Give a whole file its name, which was claimed."""
        part.replace(self.directory_of(path))
        self.note_whole(path, content, members)

    def note_whole(self, path: str, content: str, members: tuple[tuple[str, str], ...] = ()) -> None:
        """Write down that a file is whole."""
        now = (self.root / path).stat()
        written = Written(now.st_size, now.st_mtime_ns, content, members)
        self._note([_entry(path, written)])
        self._files[path] = written

    def directory_of(self, path: str) -> Path:
        """The file's place, in a directory that is there."""
        place = self.root / path
        if place.parent not in self._directories:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._directories.add(place.parent)
        return place

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, in the place of the one that this export wrote before."""
        self.claim([path])
        part = self.part()
        part.write_bytes(content)
        self.place(part, path, "")

    def others_than(self, wanted: AbstractSet[str]) -> set[str]:
        """What this export wrote, or began, and is not wanted any more."""
        return self._files.keys() - wanted

    def remove(self, paths: Iterable[str]) -> int:
        """Take files out, and directories that become empty; only what this export wrote. How many were there."""
        removed = 0
        directories: set[PurePosixPath] = set()
        for path in [path for path in paths if path in self._files]:
            place = self.root / path
            removed += place.exists()
            place.unlink(missing_ok=True)
            self._note([{"path": path, "gone": True}])
            del self._files[path]
            directories.update(parent for parent in PurePosixPath(path).parents if parent.name)
        for directory in sorted(directories, key=lambda each: -len(each.parts)):
            with suppress(OSError):  # something is in it
                (self.root / directory).rmdir()
                self._directories.discard(self.root / directory)
        return removed

    def tidy(self) -> None:
        """Write the journal anew, with what is there and nothing of what was."""
        lines = "".join(json.dumps(_entry(path, written)) + "\n" for path, written in self.whole().items())
        _replace(self.home / JOURNAL, lines.encode())

    def _note(self, entries: Iterable[dict[str, Any]]) -> None:
        with self._lock:
            self._journal.write("".join(json.dumps(entry) + "\n" for entry in entries))
            self._journal.flush()


def _check(root: Path, kind: str) -> None:
    if root.exists() and not root.is_dir():
        raise SettingsError(f"{root} is a file: name a directory to export into.")
    about = root / HOME / ABOUT
    if not about.exists():
        if root.is_dir() and any(each.name != HOME for each in root.iterdir()):
            raise SettingsError(f"{root} is not empty, and no export: name a new directory, or an empty one.")
        return
    try:
        told = json.loads(about.read_bytes())
    except ValueError:
        told = {}
    if told.get("version") != VERSION:
        raise SettingsError(f"{root} is an export of another version of ut-clips: name a new directory.")
    if told.get("format") != kind:
        raise SettingsError(f"{root} is an export as {told.get('format')}, not as {kind}: name another directory.")


def _read(journal: Path) -> dict[str, Written | None]:
    files: dict[str, Written | None] = {}
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # half a line of a killed process: its file is not whole either
        path = entry["path"]
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise StorageError(f"{journal} names a file outside the export. Nothing was touched.")
        if entry.get("gone"):
            files.pop(path, None)
        elif "size" in entry:
            members = tuple((key, content) for key, content in entry.get("members", ()))
            files[path] = Written(entry["size"], entry["mtime_ns"], entry["content"], members)
        else:
            files[path] = None
    return files


def _entry(path: str, written: Written) -> dict[str, Any]:
    entry = {
        "path": path,
        "size": written.size_bytes,
        "mtime_ns": written.mtime_ns,
        "content": written.content,
    }
    return entry | ({"members": written.members} if written.members else {})


def _replace(place: Path, content: bytes) -> None:
    beside = place.with_name(f"{place.name}.part")
    beside.write_bytes(content)
    beside.replace(place)
