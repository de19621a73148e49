"""The Dagster instance for commands that only read: never created, and not written to by who may not."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ut_clips_dagster.cli.platform import INSTANCE_CONFIG, home_path, opened
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.settings import Settings, check_text, load_env_file
from ut_clips_dagster.storage.metadata_table import MetadataTable

if TYPE_CHECKING:
    from dagster import DagsterInstance

DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Dagster's SQLite databases below DAGSTER_HOME, but for the log of each run."""
_STORAGE = re.compile(r"^(storage|run_storage|event_log_storage|schedule_storage)\s*:", re.MULTILINE)
"""A configuration that keeps its data elsewhere."""


@contextmanager
def existing_instance() -> Iterator[DagsterInstance | None]:
    """The instance in DAGSTER_HOME, or in .dagster/; None where there is none yet.

    Raises:
        SettingsError: it is there, and cannot be read.
    """
    load_env_file()
    home = home_path()
    with ExitStack() as stack:
        try:
            kind = _kind(home)
            if kind == "unwritable":
                home = _snapshot(home, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ut_clips_"))))
        except (OSError, ValueError, yaml.YAMLError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
            raise SettingsError(f"The Dagster instance in {home} cannot be read: {reason}.") from None
        yield None if kind == "none" else stack.enter_context(opened(home))


def check_not_unmounted(settings: Settings) -> None:
    """Raise StorageError where the archive holds no table, and a Dagster instance that is here knows of one.

    For commands that need no instance: one is opened, and Dagster imported, only where there is nothing to read.
    """
    table = MetadataTable.of_archive(settings.archive)
    if table.open() is not None:
        return
    with existing_instance() as instance:
        if instance:
            from ut_clips_dagster.account import Account
            from ut_clips_dagster.known_sessions import check_archive_is_there

            check_archive_is_there(instance, table, Account.of(settings))


def no_instance() -> str:
    """What to say where there is none."""
    return (
        f"There is no Dagster instance in {home_path()}: this is what the archive itself says. "
        "If there is one elsewhere, set DAGSTER_HOME."
    )


def _kind(home: Path) -> str:
    config = home / INSTANCE_CONFIG.name
    check_text(config)
    if config.exists():
        text = config.read_text(encoding="utf-8")
        yaml.safe_load(text)
        if _STORAGE.search(text):
            return "configured"  # PostgreSQL, or SQLite elsewhere: rights are the database's matter
    files = [home / name for name in DATABASES]
    if empty := [path.name for path in files if path.exists() and not path.stat().st_size]:
        raise ValueError(f"{empty[0]} is empty")  # SQLite takes it for a new database, and Dagster for one without runs
    if not files[0].exists():
        return "none"
    return "writable" if all(os.access(path, os.W_OK) for p in files for path in (p, p.parent)) else "unwritable"


def _snapshot(home: Path, copy: Path) -> Path:
    """Copies of the databases at this moment: Dagster opens them for writing, whatever it does with them."""
    config = home / INSTANCE_CONFIG.name
    (copy / config.name).write_bytes((config if config.exists() else INSTANCE_CONFIG).read_bytes())
    for name in DATABASES:
        if (home / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            _copy(home / name, copy / name)
    return copy


def _copy(source: Path, target: Path) -> None:
    """A consistent copy, though others write.

    A database that nobody has open has no `-shm` file, and SQLite cannot make one here: then it does not change either.
    """
    uri = source.as_uri()
    for options in ("mode=ro", "mode=ro&immutable=1"):
        try:
            with closing(sqlite3.connect(f"{uri}?{options}", uri=True)) as old, closing(sqlite3.connect(target)) as new:
                old.backup(new)
        except sqlite3.OperationalError:
            if "immutable" in options:
                raise
        else:
            return
