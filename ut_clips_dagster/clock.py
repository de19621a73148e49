"""Stored times and the present: a clock that was ahead for an hour must not silence anything for a year."""

from __future__ import annotations

from datetime import datetime, timedelta

SKEW = timedelta(minutes=5)
"""So far the clocks of several machines, and of the API, may differ."""


def is_future(at: datetime, now: datetime) -> bool:
    """Whether a stored time lies ahead, so that it tells nothing: one of the two clocks was wrong.

    What was done then counts as not done: it is done at once, and that writes a time that is right.
    """
    return at - now > SKEW


def not_ahead(at: datetime, now: datetime) -> datetime:
    """The time, or now instead of one that lies ahead."""
    return now if is_future(at, now) else at
