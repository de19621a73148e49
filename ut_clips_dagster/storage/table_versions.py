"""The archive's tables as they were: Delta keeps what a commit replaced until it is vacuumed, for seven days."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import unquote, urlsplit

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from ut_clips_dagster.errors import SettingsError, StorageError

LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
KEPT_DAYS = 7
"""Delta's own default for vacuum, which our compaction keeps to."""


@dataclass(frozen=True)
class AsOf:
    """A moment, or a version of a table."""

    version: int | None = None
    moment: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> AsOf:
        """A version (a whole number), or a time in ISO 8601; without an offset it is UTC, as all times here.

        Raises:
            SettingsError: it is neither.
        """
        try:
            if text.isascii() and text.isdigit():
                return cls(version=int(text))
            moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
            return cls(moment=moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc))
        except (ValueError, OverflowError):  # also: a number, or a year, that there cannot be
            raise SettingsError(
                f"--as-of {text[:40]!r} is neither a version nor a time: write 12, 2026-01-31 or 2026-01-31T12:00Z."
            ) from None


@dataclass(frozen=True)
class Version:
    """One commit of a table."""

    number: int
    committed_at: datetime


def find_version(table: DeltaTable, as_of: AsOf, name: str) -> Version:
    """The version that was the newest at a moment, or the one of that number.

    By the times that the commits themselves tell: those of their files change when an archive is copied.

    Raises:
        StorageError: there was none yet, or none any more.
    """
    # not by table.history(): it reads every commit there is, holds the interpreter's lock, and fails for some paths
    log = _log_of(table)
    names = (_COMMIT.fullmatch(info.base_name) for info in log.get_file_info(FileSelector(LOG)))
    versions = sorted(int(match[1]) for match in names if match)
    if as_of.moment is None:
        if as_of.version not in versions:
            raise StorageError(f"{name} has versions {versions[0]} to {versions[-1]}, and no {as_of.version}.")
        return Version(as_of.version, _committed_at(log, as_of.version))
    after = bisect_right(versions, as_of.moment, key=lambda number: _committed_at(log, number))
    if not after:
        raise StorageError(
            f"{name} has no version of {as_of.moment:%Y-%m-%d %H:%M:%S} UTC: the first one that is known is "
            f"{versions[0]}, of {_committed_at(log, versions[0]):%Y-%m-%d %H:%M:%S} UTC."
        )
    return Version(versions[after - 1], _committed_at(log, versions[after - 1]))


def load(table: DeltaTable, version: Version, name: str) -> None:
    """Turn an open table to a version.

    Raises:
        StorageError: its log is not kept any more.
    """
    try:
        table.load_as_version(version.number)
    except (DeltaError, OSError):
        raise gone(name, version) from None


def gone(name: str, version: Version) -> StorageError:
    """The rows of a version were vacuumed."""
    return StorageError(
        f"The rows of {name} of version {version.number} ({version.committed_at:%Y-%m-%d %H:%M:%S} UTC) are gone: "
        f"what was replaced is kept for {KEPT_DAYS} days."
    )


def _log_of(table: DeltaTable) -> FileSystem:
    """The table's directory as a file system, wherever it is."""
    if "://" not in table.table_uri or table.table_uri.startswith("file://"):
        return SubTreeFileSystem(unquote(urlsplit(table.table_uri).path), LocalFileSystem())
    return PyFileSystem(DeltaStorageHandler.from_table(table._table))  # noqa: SLF001 - it has no other way


def _committed_at(log: FileSystem, version: int) -> datetime:
    """When a version was committed, as it says itself."""
    with log.open_input_file(f"{LOG}/{version:020d}.json") as file:
        lines = file.read().decode().splitlines()
    commits = (json.loads(line).get("commitInfo") for line in lines)
    milliseconds = next((commit["timestamp"] for commit in commits if commit), 0)
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
