"""Questions to the index: what a page shows, as frozen models."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ut_clips_dagster.gallery import schema
from ut_clips_dagster.gallery.words import MAX_WORDS, Endings, best_line, facet, match, words_of

PAGE = 48
MAX_COUNTED = 1000
"""From there on it is "more than": counting a common word takes longer than finding it."""
MAX_IN_SESSION = 2000
SHORTEST_SPELT_OUT = 3
MAX_SPELT_OUT = 500
"""Words that stand in place of their beginning, at 4 ms; of more the index gathers all clips before it answers."""

CLIP = f"""
select c.*, m.duration_s, m.width, m.height, m.has_audio_track, m.poster_path, m.problem, t.times, t.lines
{schema.JOINED}"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Question(_Model):
    """What somebody looks for; everything given must hold."""

    text: str = ""
    study: str = ""
    session: str = ""
    status: str = ""
    """A status, or `deleted`: at UserTesting, since it was archived."""
    sound: Literal["", "yes", "no"] = ""
    since_ms: int | None = None
    until_ms: int | None = None
    after: int = 0
    """The number of the last clip that is shown already."""


class Cue(_Model):
    """What is said at a time of the clip."""

    start_ms: int
    end_ms: int
    voice: str | None
    text: str


class ClipCard(_Model):
    """A clip as one of many."""

    number: int
    session_id: str
    clip_uuid: str
    study_uuid: str | None
    name: str
    description: str | None
    at_ms: int
    time_start_ms: int | None
    time_end_ms: int | None
    duration_s: float | None
    sound: bool
    status: str
    stored: bool
    listed: bool
    poster: str | None
    """Changes with the file: it may be kept."""
    moment: Cue | None
    """Where the words that were looked for are said."""


class ClipPage(ClipCard):
    """A clip alone."""

    error: str | None
    problem: str | None
    width: int | None
    height: int | None
    size_bytes: int | None
    started_ms: int | None
    cues: tuple[Cue, ...]


class Found(_Model):
    """An answer."""

    total: int
    more_than_counted: bool
    clips: tuple[ClipCard, ...]
    after: int | None
    """For the next page; None at the end."""
    words: tuple[str, ...]


class SessionPage(_Model):
    """A session with its clips, in their order."""

    session_id: str
    study_uuid: str | None
    started_ms: int | None
    finished_ms: int | None
    at_ms: int
    clips: tuple[ClipCard, ...]


def search(db: sqlite3.Connection, question: Question) -> Found:
    """The newest clips that answer, and how many there are."""
    words = tuple(words_of(question.text)[:MAX_WORDS])
    facets = [
        facet(kind, value) for kind in ("session", "study", "status", "sound") if (value := getattr(question, kind))
    ]
    first, end = _numbers(question)
    if words or facets:
        source, name = "search", "rowid"
        where, values = "search match ? and rowid >= ? and rowid < ?", [match(words, facets, _endings(db)), first, end]
    else:
        source, name = "clips", "id"
        where, values = "id >= ? and id < ?", [first, end]
    counting = f"select count(*) from (select 1 from {source} where {where} limit {MAX_COUNTED + 1})"
    (total,) = db.execute(counting, values).fetchone()
    page = f"select {name} from {source} where {where} and {name} > ? order by {name} limit {PAGE + 1}"
    numbers = [number for (number,) in db.execute(page, [*values, question.after])]
    rows = [db.execute(f"{CLIP} where c.id = ?", (number,)).fetchone() for number in numbers[:PAGE]]
    return Found(
        total=min(total, MAX_COUNTED),
        more_than_counted=total > MAX_COUNTED,
        clips=tuple(ClipCard(**_card(row, words)) for row in rows if row),
        after=numbers[PAGE - 1] if len(numbers) > PAGE else None,
        words=words,
    )


def clip_page(db: sqlite3.Connection, session_id: str, clip_uuid: str) -> ClipPage | None:
    """One clip with all that is said in it."""
    row = clip_row(db, session_id, clip_uuid)
    if row is None:
        return None
    names = ("error", "problem", "width", "height", "size_bytes", "started_ms")
    return ClipPage(**_card(row, ()), **{name: row[name] for name in names}, cues=cues_of(row))


def clip_row(db: sqlite3.Connection, session_id: str, clip_uuid: str) -> Any:
    """All the index knows of a clip."""
    return db.execute(f"{CLIP} where c.session_id = ? and c.clip_uuid = ?", (session_id, clip_uuid)).fetchone()


def session_page(db: sqlite3.Connection, session_id: str) -> SessionPage | None:
    """A session's clips by their start."""
    rows = db.execute(f"{CLIP} where c.session_id = ? order by c.id limit {MAX_IN_SESSION}", (session_id,)).fetchall()
    if not rows:
        return None
    of = {name: rows[0][name] for name in ("session_id", "study_uuid", "started_ms", "finished_ms", "at_ms")}
    return SessionPage(**of, clips=tuple(ClipCard(**_card(row, ())) for row in rows))


def poster_paths(db: sqlite3.Connection, session_id: str, number: int) -> list[str]:
    """Where the pictures of a session's clips are, in the clips' order."""
    rows = db.execute(f"{CLIP} where c.session_id = ? and m.poster_path is not null order by c.id", (session_id,))
    return [row["poster_path"] for row in rows.fetchmany(number)]


def summary(db: sqlite3.Connection) -> dict[str, Any]:
    """Counts, studies and statuses of the whole archive."""
    return dict(json.loads(db.execute("select content from summary").fetchone()[0]))


def cues_of(row: Any) -> tuple[Cue, ...]:
    """What is said, line by line."""
    if row["lines"] is None or row["times"] == "[]":
        return ()
    times, lines = json.loads(row["times"]), row["lines"].split("\n")
    return tuple(
        Cue(start_ms=start, end_ms=end, voice=voice, text=text)
        for (start, end, voice), text in zip(times, lines, strict=True)
    )


def _endings(db: sqlite3.Connection) -> Endings:
    def endings(word: str) -> list[str]:
        if len(word) < SHORTEST_SPELT_OUT:
            return []  # FTS5 has lists of these beginnings
        range_ = "select word from words where word >= ? and word < ? limit ?"
        found = [each for (each,) in db.execute(range_, (word, word + "\U0010ffff", MAX_SPELT_OUT + 1))]
        return list(dict.fromkeys([word, *found])) if len(found) <= MAX_SPELT_OUT else []

    return endings


def _card(row: Any, words: tuple[str, ...]) -> dict[str, Any]:
    sound = row["has_audio"] if row["has_audio_track"] is None else row["has_audio_track"]
    length_ms = (row["time_end_ms"] or 0) - (row["time_start_ms"] or 0)
    line = best_line(words, row["lines"].split("\n")) if words and row["lines"] else None
    address = f"{row['session_id']}/{row['clip_uuid']}?v={row['digest'].hex()[:8]}"
    same = ("session_id", "clip_uuid", "study_uuid", "description", "at_ms", "time_start_ms", "time_end_ms")
    return {
        **{name: row[name] for name in same},
        "number": row["id"],
        "name": row["name"] or "",
        "duration_s": row["duration_s"] or (length_ms / 1000 if length_ms > 0 else None),
        "sound": bool(sound),
        "status": row["status"] or "MISSING",
        "stored": bool(row["storage_path"]),
        "listed": bool(row["listed"]),
        "poster": f"/posters/{address}" if row["poster_path"] else None,
        "moment": None if line is None else cues_of(row)[line],
    }


def _numbers(question: Question) -> tuple[int, int]:
    """The range of clips' numbers that a range of times is; later times have lower numbers."""
    first = 0 if question.until_ms is None else schema.first_id(question.until_ms) + schema.SLOTS
    end = schema.first_id(0) if question.since_ms is None else schema.first_id(question.since_ms) + schema.SLOTS
    return first, max(first, end)
