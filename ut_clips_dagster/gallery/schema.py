"""The index: a SQLite file that mirrors the archive's tables, with their words in FTS5.

A row remembers the data file of the Delta table that it came from, so that an update reads only files it has not seen.
Clips are numbered newest session first and in the order of the session: the order in which they are shown is the order
of FTS5's own lists, and nothing is ever sorted.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

VERSION = 1
"""Part of the file's name: another version of this package builds an index of its own."""
SLOTS = 4096
"""Numbers in each minute; a session's clips take theirs by their start."""
SLOT_MS = 2000
END_OF_TIME = 1 << 26
"""In minutes since 1970: the year 2097. Counted down, as the newest come first."""
MINUTE_MS = 60_000
CACHE_KB = 64 * 1024

SOURCES = ("clips", "media", "transcripts")
TABLES = """
create table files (id integer primary key, source text not null, path text not null, unique (source, path));
create table clips (
    id integer primary key, session_id text not null, clip_uuid text not null, file integer not null,
    digest blob not null, study_uuid text, name text, description text, at_ms integer not null, started_ms integer,
    finished_ms integer, time_start_ms integer, time_end_ms integer, has_audio integer, has_camera integer,
    status text, error text, listed integer, storage_path text, size_bytes integer, crc32c text, content_type text,
    unique (session_id, clip_uuid)
);
create table media (
    session_id text not null, clip_uuid text not null, file integer not null, digest blob not null,
    storage_path text, duration_s real, width integer, height integer, has_audio_track integer,
    poster_path text, problem text,
    primary key (session_id, clip_uuid)
);
create table transcripts (
    session_id text not null, clip_uuid text not null, file integer not null, digest blob not null,
    times text not null, lines text not null,
    primary key (session_id, clip_uuid)
);
create table summary (content text not null);
create table words (word text primary key) without rowid;
-- without a copy of the text, positions and sizes: the smallest there is. Words are taken out by what was put in.
-- With lists of beginnings of three letters a build takes a third longer: queries.py spells those out.
create virtual table search using fts5(
    text, content='', detail=none, columnsize=0, prefix='1 2', tokenize="unicode61 remove_diacritics 2"
);
insert into search (search, rank) values ('hashsize', 33554432);
"""
JOINED = """
from clips c
left join media m on m.session_id = c.session_id and m.clip_uuid = c.clip_uuid and m.storage_path = c.storage_path
left join transcripts t on t.session_id = c.session_id and t.clip_uuid = c.clip_uuid
"""
"""Facts of an older cut's file are not shown beside the present one."""
BY_FILE = """
create index clips_by_file on clips (file);
create index media_by_file on media (file);
create index transcripts_by_file on transcripts (file);
"""
"""Made when all rows are there."""


def open_to_build(path: Path) -> sqlite3.Connection:
    """A new, empty index; a crash may ruin it, as nobody uses it yet."""
    db = _connect(f"file:{path}?mode=rwc")
    db.execute("pragma journal_mode = off")
    db.execute("pragma synchronous = off")
    db.executescript(TABLES)
    return db


def open_to_write(path: Path) -> sqlite3.Connection:
    """An index that others read at the same time."""
    db = _connect(f"file:{path}?mode=rw")
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """For one question; rows are known by their columns' names."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    db.execute("select 1 from summary")  # opens the file at last, which may be removed at any time
    db.row_factory = sqlite3.Row
    return db


def first_id(at_ms: int) -> int:
    """The first number of a minute; later minutes have lower numbers."""
    return (END_OF_TIME - at_ms // MINUTE_MS) * SLOTS


def id_for(db: sqlite3.Connection, at_ms: int, time_start_ms: int) -> int:
    """A free number: by the session's minute, then by the clip's start."""
    number = first_id(at_ms) + min(max(time_start_ms, 0) // SLOT_MS, SLOTS - 1)
    while db.execute("select 1 from clips where id = ?", (number,)).fetchone():
        number += 1
    return number


def milliseconds(at: datetime | None) -> int | None:
    """Since 1970."""
    return None if at is None else int(at.timestamp() * 1000)


def _connect(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
    db.execute(f"pragma cache_size = -{CACHE_KB}")
    return db
