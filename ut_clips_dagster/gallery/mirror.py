"""Fills the index from the tables' data files, and brings it up to date when there are others."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ut_clips_dagster.gallery import rows, schema
from ut_clips_dagster.gallery.rows import CLIPS, SOURCES, Kept, Source
from ut_clips_dagster.gallery.words import facet, searchable, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow.dataset as ds

DOCUMENT = f"""
select c.id, c.session_id, c.study_uuid, c.name, c.description, c.status, c.listed,
       coalesce(m.has_audio_track, c.has_audio), t.lines
{schema.JOINED}"""
WORDS = "insert into search (rowid, text) values (?, ?)"
OF_ONE = "session_id = ? and clip_uuid = ?"
Progress = Callable[[int], None]
"""Told how many rows have been read since it was told last."""


@dataclass(frozen=True)
class Changes:
    """Data files of one table that the index has not seen, and those of its own that are gone."""

    source: Source
    new: Mapping[str, ds.Fragment]
    gone: Sequence[int]
    schema: Any

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)

    def count_rows(self) -> int:
        """Rows in the new files."""
        return sum(fragment.count_rows() for fragment in self.new.values())


def changes(db: sqlite3.Connection, tables: Mapping[str, ds.FileSystemDataset | None]) -> list[Changes]:
    """What an index lacks, table by table."""
    found = []
    for source in SOURCES:
        dataset = tables[source.name]
        fragments = {} if dataset is None else {str(f.path): f for f in dataset.get_fragments()}
        known = dict(db.execute("select path, id from files where source = ?", (source.name,)).fetchall())
        found.append(
            Changes(
                source,
                {path: fragment for path, fragment in fragments.items() if path not in known},
                [number for path, number in known.items() if path not in fragments],
                None if dataset is None else dataset.schema,
            )
        )
    return found


def fill(db: sqlite3.Connection, tables: Sequence[Changes], progress: Progress) -> None:
    """Put all rows into an empty index: rows first, then their words in the order of their numbers."""
    with transaction(db):
        for change in tables:
            for file, batch in _batches(db, change):
                _insert(db, change.source, file, batch)
                progress(len(batch))
    db.executescript(schema.BY_FILE)
    with transaction(db):
        documents = db.execute(f"{DOCUMENT} order by c.id")
        while batch := documents.fetchmany(rows.BATCH_ROWS):
            db.executemany(WORDS, ((document[0], _text(document)) for document in batch))
            progress(0)
        db.execute("create virtual table temp.vocabulary using fts5vocab(main, search, 'row')")
        db.execute("insert or ignore into words select term from temp.vocabulary")
        _summarize(db)


def update(db: sqlite3.Connection, tables: Sequence[Changes], progress: Progress) -> None:
    """Take over what changed, in one transaction: whoever reads meanwhile sees all of it or nothing."""
    with transaction(db):
        db.execute("create temp table touched (session_id, clip_uuid, primary key (session_id, clip_uuid))")
        for change in tables:
            for file, batch in _batches(db, change):
                for kept in batch:
                    _put(db, change.source, file, kept)
                progress(len(batch))
        for change in tables:  # after the new files: a row that only moved to another file is no longer in the old one
            for file in change.gone:
                _forget(db, change.source, file)
        for key in db.execute("select session_id, clip_uuid from touched").fetchall():
            if document := db.execute(f"{DOCUMENT} where c.session_id = ? and c.clip_uuid = ?", key).fetchone():
                text = _text(document)
                db.execute(WORDS, (document[0], text))
                db.executemany("insert or ignore into words values (?)", [(word,) for word in set(words_of(text))])
        _summarize(db)
        db.execute("drop table touched")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):  # what went wrong before says more
            if db.in_transaction:
                db.execute("rollback")
        raise


def _batches(db: sqlite3.Connection, change: Changes) -> Iterator[tuple[int, list[Kept]]]:
    for path, fragment in change.new.items():
        file = db.execute("insert into files (source, path) values (?, ?)", (change.source.name, path)).lastrowid or 0
        for batch in rows.kept_rows(change.source, fragment, change.schema):
            yield file, batch


def _put(db: sqlite3.Connection, source: Source, file: int, kept: Kept) -> None:
    key = (kept.session_id, kept.clip_uuid)
    same = f"update {source.name} set file = ? where {OF_ONE} and digest = ?"
    if db.execute(same, (file, *key, kept.digest)).rowcount:
        return  # as most rows of a file that was merged from others
    _touch(db, key)
    db.execute(f"delete from {source.name} where {OF_ONE}", key)
    _insert(db, source, file, [kept])


def _forget(db: sqlite3.Connection, source: Source, file: int) -> None:
    for key in db.execute(f"select session_id, clip_uuid from {source.name} where file = ?", (file,)).fetchall():
        _touch(db, key)
        db.execute(f"delete from {source.name} where {OF_ONE}", key)
    db.execute("delete from files where id = ?", (file,))


def _touch(db: sqlite3.Connection, key: tuple[str, str]) -> None:
    """Take a clip's words out of the index, as long as what they were made from is still there."""
    if not db.execute("insert or ignore into touched values (?, ?)", key).rowcount:
        return
    if document := db.execute(f"{DOCUMENT} where c.session_id = ? and c.clip_uuid = ?", key).fetchone():
        db.execute("insert into search (search, rowid, text) values ('delete', ?, ?)", (document[0], _text(document)))


def _insert(db: sqlite3.Connection, source: Source, file: int, batch: Sequence[Kept]) -> None:
    names = ["session_id", "clip_uuid", "file", "digest", *source.keeps]
    values = ((kept.session_id, kept.clip_uuid, file, kept.digest, *kept.values) for kept in batch)
    if source is CLIPS:
        at_ms, start_ms = names.index("at_ms"), names.index("time_start_ms")
        names.append("id")
        values = ((*of, schema.id_for(db, of[at_ms], of[start_ms] or 0)) for of in values)
    marks = ", ".join("?" * len(names))
    db.executemany(f"insert or ignore into {source.name} ({', '.join(names)}) values ({marks})", values)


def _text(document: tuple[Any, ...]) -> str:
    _, session_id, study_uuid, name, description, status, listed, sound, lines = document
    facets = [facet("session", session_id), facet("study", study_uuid or ""), facet("status", status or "")]
    facets += [facet("sound", "yes" if sound else "no"), *([] if listed else [facet("status", "deleted")])]
    return searchable((name or "", description or "", lines or ""), facets)


def _summarize(db: sqlite3.Connection) -> None:
    """What the page shows before anybody asks: kept, as counting takes longer than a question may."""
    studies = db.execute(
        "select study_uuid, count(*), count(distinct session_id), max(at_ms) from clips group by 1 order by 4 desc"
    ).fetchall()
    statuses = dict(db.execute("select coalesce(status, ''), count(*) from clips group by 1").fetchall())
    (deleted,) = db.execute("select count(*) from clips where not listed").fetchone()
    sessions, first, last = db.execute(
        "select count(distinct session_id), min(at_ms), max(at_ms) from clips"
    ).fetchone()
    content = {
        "clips": sum(statuses.values()),
        "sessions": sessions,
        "first_ms": first,
        "last_ms": last,
        "transcripts": db.execute("select count(*) from transcripts").fetchone()[0],
        "statuses": statuses | ({"deleted": deleted} if deleted else {}),
        "revision": time.time_ns() // 1000,
        "studies": [{"study": s, "clips": c, "sessions": n, "last_ms": at} for s, c, n, at in studies],
    }
    db.execute("delete from summary")
    db.execute("insert into summary values (?)", (json.dumps(content),))
