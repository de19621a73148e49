"""When a session is listed again: researchers cut, rename and delete clips long after it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pandas as pd

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.clock import SKEW, is_future

RELIST_AFTER = tuple(timedelta(hours=h) for h in (1, 24, 3 * 24, 7 * 24, 14 * 24, 30 * 24))
"""Times after a session's end at which it is listed again; zero clips is never final."""

FIRST_POSSIBLE = datetime(2000, 1, 1, tzinfo=timezone.utc)
"""No session is older: an earlier date stands for none (year 1, or the beginning of Unix time)."""


def next_relist(record: SessionRecord, now: datetime) -> datetime | None:
    """When a session is to be listed again: the first of its times that no listing has covered; None when all are.

    A listing whose time lies ahead covers none; where all that is known of a session lies ahead, it is due now.
    """
    begin = begin_of(record, now)
    if record.clip_list is None:
        return begin + RELIST_AFTER[0] if begin else None
    if is_future(record.clip_list.listed_at, now):
        return begin + RELIST_AFTER[0] if begin else now
    return next_time(begin or record.clip_list.listed_at, record.clip_list.listed_at)


def begin_of(record: SessionRecord, now: datetime) -> datetime | None:
    """From when on a session's times count: its end, or when it was found, or listed first; None when none is known.

    An end that lies ahead is none: a session that was found had ended by then, whatever its date says.
    """
    session, listing = record.session, record.clip_list
    told = (
        session and session.finished_at,
        session and session.found_at,
        listing and listing.first_listed_at,
    )
    return next((at for at in told if at and at >= FIRST_POSSIBLE and not is_future(at, now)), None)


def next_time(begin: datetime, last_at: datetime) -> datetime | None:
    """The first time of the schedule after the last one that something was asked at; None when all are over."""
    return next((at for after in RELIST_AFTER if (at := begin + after) > last_at), None)


def settled_sessions(rows: pd.DataFrame, now: datetime) -> set[str]:
    """Sessions whose rows alone show that they were listed after the last of their times.

    Args:
        rows: the table's columns session_id, listed_at and session_finished_at; a session without rows, or without a
            known end, is never among the answer.
        now: the present moment; a listing that lies ahead of it shows nothing.
    """
    by_session = rows[rows["session_finished_at"] >= FIRST_POSSIBLE].groupby("session_id")
    listed_at, finished_at = by_session["listed_at"].max(), by_session["session_finished_at"].max()
    return set(listed_at.index[(listed_at >= finished_at + RELIST_AFTER[-1]) & (listed_at <= now + SKEW)])
