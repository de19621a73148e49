"""The index on disk: which file it is, who may write it, and what happens when it is damaged.

A link with a fixed name leads to the present file. A rebuild makes another one beside it and then turns the link, so
that whoever reads meanwhile goes on reading. Two galleries share an index: one of them, who holds the lock, writes.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from filelock import FileLock, Timeout

from ut_clips_dagster.errors import ClipsError, StorageError
from ut_clips_dagster.gallery import mirror, schema

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from ut_clips_dagster.storage.session_table import SessionTable

REBUILD_ABOVE_ROWS = 20_000
"""Rows in new files from which on a new index is made faster than the old one is changed."""
Told = Callable[[int, int], None]


class IndexMissingError(ClipsError):
    """There is no index that can be read, yet: one is being built."""


class Index:
    """The index of one archive, in a directory for caches.

    Args:
        directory: made if it is missing, readable by its owner alone: transcripts are in it.
        archive_uri: each archive has an index of its own.
    """

    def __init__(self, directory: Path, archive_uri: str) -> None:
        self._directory = directory / sha256(archive_uri.encode()).hexdigest()[:16]
        self._link = self._directory / f"index-{schema.VERSION}"
        self._taken_over: tuple[Path | None, Mapping[str, list[str] | None]] = (None, {})
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(
                f"The gallery's index cannot be kept in {directory}: {error.strerror}. Name another place by --cache."
            ) from error

    @property
    def path(self) -> Path | None:
        """The present file."""
        try:
            path = self._directory / self._link.readlink()
        except OSError:
            return None
        return path if path.exists() else None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The index, for one question.

        Raises:
            IndexMissingError: there is none; or it is damaged, and will be built anew.
        """
        path = self.path
        if path is None:
            raise IndexMissingError("The index is being built.")
        try:
            with closing(self._opened(path)) as db:
                yield db
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise StorageError(f"The index cannot be read: {error}. Try again.") from error
            self.discard(path)
            raise IndexMissingError("The index is damaged, and is being built anew.") from error

    def _opened(self, path: Path) -> sqlite3.Connection:
        """This file; or the one that has taken its place since its name was read."""
        try:
            return schema.open_to_read(path)
        except sqlite3.OperationalError:
            now = self.path
            if now is None or now == path:
                raise
            return schema.open_to_read(now)

    def discard(self, path: Path) -> None:
        """Let nobody read this file any more, unless another one has taken its place already."""
        if self.path == path:
            self._link.unlink(missing_ok=True)

    def check(self) -> bool:
        """Read all of it; a damaged one is discarded. True if it is sound. For the start: it takes seconds."""
        path = self.path
        if path is None:
            return False
        try:
            with closing(schema.open_to_read(path)) as db:
                sound = db.execute("pragma quick_check(1)").fetchone()[0] == "ok"
                db.execute("select count(*) from search where search match ?", ('"e" *',)).fetchone()
        except sqlite3.Error as error:
            sound = not _is_damage(error)
        if not sound:
            self.discard(path)
        return sound

    def refresh(self, tables: Mapping[str, SessionTable], told: Told) -> bool:
        """Bring it up to date, building it where needed; True when it changed.

        Nothing is done while another gallery does the same.

        Raises:
            StorageError: a table cannot be read.
        """
        files = {name: table.files() for name, table in tables.items()}
        if self._taken_over == (self.path, files):
            return False  # at once: this is what happens nearly always
        datasets = {name: table.arrow() for name, table in tables.items()}
        try:
            with FileLock(self._directory / ".lock", timeout=0):
                changed = self._refresh(datasets, told)
                self._taken_over = (self.path, files)
                return changed
        except Timeout:
            return False
        except pa.ArrowException as error:
            raise StorageError(f"The tables cannot be read, see `ut-clips verify`: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"The gallery's index in {self._directory} cannot be written: {error}") from error

    def _refresh(self, datasets: Mapping[str, ds.FileSystemDataset | None], told: Told) -> bool:
        path = self.path
        if path is not None:
            try:
                with closing(schema.open_to_write(path)) as db:
                    found = mirror.changes(db, datasets)
                    if not any(found):
                        return False
                    total = sum(change.count_rows() for change in found)
                    if total <= REBUILD_ABOVE_ROWS:
                        mirror.update(db, found, _counting(total, told))
                        return True
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self.discard(path)
        self._build(datasets, told)
        return True

    def _build(self, datasets: Mapping[str, ds.FileSystemDataset | None], told: Told) -> None:
        target = self._directory / f"{self._link.name}-{uuid.uuid4().hex}.sqlite"
        try:
            with closing(schema.open_to_build(target)) as db:
                found = mirror.changes(db, datasets)
                mirror.fill(db, found, _counting(sum(change.count_rows() for change in found), told))
            schema.open_to_write(target).close()
            turned = target.with_suffix(".link")
            turned.symlink_to(target.name)
            turned.replace(self._link)
        except BaseException:
            _remove(target)
            raise
        for old in self._directory.glob("index-*-*.sqlite"):  # of older versions, and what a killed gallery left, too
            if old != target and int(old.name.split("-")[1]) <= schema.VERSION:
                _remove(old)


def _counting(total: int, told: Told) -> mirror.Progress:
    done = 0

    def progress(rows: int) -> None:
        nonlocal done
        done += rows
        told(done, total)

    return progress


def _remove(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal"), path.with_suffix(".link")):
        with suppress(OSError):
            name.unlink(missing_ok=True)


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is ruined; else another process writes, the disk is full, or the question is wrong."""
    signs = (
        "malformed",
        "not a database",
        "no such table",
        "disk I/O",
        "corrupt",
        "vtable constructor",
        "unable to open",
    )
    return any(sign in str(error) for sign in signs)
