"""When a session is listed again: researchers cut, rename and delete clips long after it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pandas as pd

from ut_clips_dagster.archive.documents import SessionDocument, SessionRecord

RELIST_AFTER = tuple(timedelta(hours=h) for h in (1, 24, 3 * 24, 7 * 24, 14 * 24, 30 * 24))
"""Times after a session's end at which it is listed again; zero clips is never final."""

FIRST_POSSIBLE = datetime(2000, 1, 1, tzinfo=timezone.utc)
"""No session is older: an earlier date stands for none (year 1, or the beginning of Unix time)."""


def next_relist(record: SessionRecord) -> datetime | None:
    """When a session is to be listed again: the first of its times that no listing has covered; None when all are.

    A session added by hand has no known end: its first listing stands for it. One that was found had ended by then,
    whatever its date says.
    """
    session, listing = record.session, record.clip_list
    finished_at = _ended_at(session) if session else None
    if listing is None:
        return finished_at + RELIST_AFTER[0] if finished_at else None
    return next_time(finished_at or listing.first_listed_at, listing.listed_at)


def next_time(finished_at: datetime, last_at: datetime) -> datetime | None:
    """The first time of the schedule after the last one that something was asked at; None when all are over."""
    return next((at for after in RELIST_AFTER if (at := finished_at + after) > last_at), None)


def _ended_at(session: SessionDocument) -> datetime:
    told = session.finished_at
    return min(told, session.found_at) if told and told >= FIRST_POSSIBLE else session.found_at


def settled_sessions(rows: pd.DataFrame) -> set[str]:
    """Sessions whose rows alone show that they were listed after the last of their times.

    Args:
        rows: the table's columns session_id, listed_at and session_finished_at; a session without rows, or without a
            known end, is never among the answer.
    """
    by_session = rows[rows["session_finished_at"] >= FIRST_POSSIBLE].groupby("session_id")
    listed_at, finished_at = by_session["listed_at"].max(), by_session["session_finished_at"].max()
    return set(listed_at.index[listed_at >= finished_at + RELIST_AFTER[-1]])
