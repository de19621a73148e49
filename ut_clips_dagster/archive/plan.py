"""What a backfill will cost in requests, and when it will be done. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from ut_clips_dagster.archive.wording import counted, duration

REQUESTS_PER_WINDOW = 10
WINDOW_S = 60.0
"""The budget of an account: ten requests a minute (OpenAPI document)."""
DEFAULT_CLIPS_PER_SESSION = 3.0
DEFAULT_REQUESTS_PER_CLIP = 2.0
"""One request starts a clip's generation, one fetches its link."""
DEFAULT_GENERATION_S = 10.0
SLOW_SHARE = 0.9


@dataclass(frozen=True)
class History:
    """What is known from the archive so far."""

    clips_per_session: float = DEFAULT_CLIPS_PER_SESSION
    requests_per_clip: float = DEFAULT_REQUESTS_PER_CLIP
    generation_s: float = DEFAULT_GENERATION_S


@dataclass(frozen=True)
class Plan:
    """What is to be asked, what that costs, and how long it takes when nothing else uses the budget."""

    sessions: int
    clips: int
    requests: int
    duration_s: float
    transcripts: int = 0
    """Transcripts to be asked for, by a request each, when the clips are done."""

    def __str__(self) -> str:
        return (
            f"{counted(self.requests, 'request')}, {duration(self.duration_s)} at {REQUESTS_PER_WINDOW} a minute, "
            f"for {counted(self.sessions, 'session')} with about {counted(self.clips, 'clip')}"
            + (f" and {counted(self.transcripts, 'transcript')}" if self.transcripts else "")
        )


def learn(rows: pd.DataFrame, listed_sessions: int) -> History:
    """History from the table's columns generation_attempts and waited_s.

    Args:
        rows: all rows of clips, listed or not.
        listed_sessions: sessions that were listed, those without clips included.
    """
    attempts, waited_s = rows["generation_attempts"].dropna(), rows["waited_s"].dropna()
    return History(
        len(rows) / listed_sessions if listed_sessions else DEFAULT_CLIPS_PER_SESSION,
        float(attempts.mean()) if len(attempts) else DEFAULT_REQUESTS_PER_CLIP,
        float(waited_s.quantile(SLOW_SHARE)) if len(waited_s) else DEFAULT_GENERATION_S,
    )


def plan(history: History, sessions: int, unlisted: int, missing_clips: int, transcripts: int = 0) -> Plan:
    """The cost of archiving sessions.

    Args:
        history: what is known so far.
        sessions: how many are to be archived; each is listed anew, by one request.
        unlisted: how many of them were never listed, so that their clips are guessed.
        missing_clips: clips of the others that are listed and not stored.
        transcripts: how many sessions are to be asked for their transcript, once their clips are stored.
    """
    clips = missing_clips + history.clips_per_session * unlisted
    requests = math.ceil(sessions + history.requests_per_clip * clips) + transcripts
    if not requests:
        return Plan(sessions, 0, 0, 0.0)
    # a full window lasts its whole minute; the last one as long as its requests take, but at least one generation
    full_windows, rest = divmod(requests - 1, REQUESTS_PER_WINDOW)
    tail_s = max(rest * WINDOW_S / REQUESTS_PER_WINDOW if full_windows else 0.0, history.generation_s if clips else 0.0)
    return Plan(sessions, round(clips), requests, round(full_windows * WINDOW_S + tail_s, 1), transcripts)
