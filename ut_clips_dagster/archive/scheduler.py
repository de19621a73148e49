"""Which request to send next, so that no request of the budget is wasted. Pure: no clock, no network.

Work that surely advances comes first: clips whose generation is likely done (learned from those seen), oldest first;
then new generations; then session lists. A poll that may be too early happens only when the budget would otherwise go
unused, for one clip at a time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from ut_clips_dagster.archive.documents import ListedClip

GENERATION_ATTEMPTS = 3
"""Starts of one clip's generation before ERROR is final."""
PRIOR_POLLS = 4
"""Before anything is learned, generation is expected to last as long as the first four polls of a lone clip take."""
TARGET_MISSES = 0.04
"""Share of pick-ups that may come too early; each costs one request of the two a clip needs."""
LEARNING_RATE = 0.35
GROWTH = 1.7
"""A clip that was not ready when expected is asked for again at this multiple of its age."""
UNLISTED_REQUESTS = 7
"""Requests a session that is not listed yet is guessed to need: a list and three clips."""


@dataclass(frozen=True)
class PollingPolicy:
    """Bounds of polling one clip's generation; delays grow linearly: interval, 2 intervals, 3 intervals."""

    interval_s: float = 3.0
    max_attempts: int = 10

    def delay_s(self, polls: int) -> float:
        """Least time between poll number `polls` (1 is the request that starts the generation) and the next."""
        return self.interval_s * polls

    def patience_s(self, polls: int) -> float:
        """Time from the start to poll number `polls + 1`."""
        return self.interval_s * polls * (polls + 1) / 2


@dataclass
class ClipWork:
    """A clip on its way to a link. Times are seconds of the pipeline's clock."""

    session_id: str
    clip: ListedClip
    polls: int = 0
    generation: int = 1
    requests: int = 0
    started_at: float = 0.0
    first_started_at: float | None = None
    asked_at: float = 0.0
    likely_at: float = 0.0


@dataclass(frozen=True)
class ListSession:
    """Send the request for a session's clip list."""

    session_id: str


@dataclass(frozen=True)
class RequestClip:
    """Send a request for a clip: it starts the generation, or asks whether it is done."""

    work: ClipWork


@dataclass(frozen=True)
class WaitUntil:
    """No request is worth sending before this time."""

    at: float


Action = ListSession | RequestClip | WaitUntil


@dataclass
class Scheduler:
    """Holds what is to be asked, and learns how long generation takes."""

    policy: PollingPolicy
    _unlisted: deque[str] = field(default_factory=deque)
    _unstarted: deque[ClipWork] = field(default_factory=deque)
    _ready: deque[ClipWork] = field(default_factory=deque)
    _generating: list[ClipWork] = field(default_factory=list)
    _expected_s: float = 0.0
    _early_at: float = 0.0

    def __post_init__(self) -> None:
        self._expected_s = self.policy.patience_s(min(PRIOR_POLLS, self.policy.max_attempts))

    def add_session(self, session_id: str) -> None:
        """A session to be listed."""
        self._unlisted.append(session_id)

    def drop_unlisted(self) -> list[str]:
        """Give up all sessions not listed yet; returns them."""
        dropped, self._unlisted = list(self._unlisted), deque()
        return dropped

    def add_clip(self, session_id: str, clip: ListedClip) -> None:
        """A clip whose generation is to be requested."""
        self._unstarted.append(ClipWork(session_id, clip))

    def add_relink(self, work: ClipWork) -> None:
        """A generated clip whose link died before it was used: one request gives a new one."""
        self._ready.append(work)

    def next_action(self, now: float) -> Action | None:  # noqa: PLR0911 - one line per kind of work, in order
        """What to send now; None when nothing is left to ask for."""
        if self._ready:
            return RequestClip(self._ready.popleft())
        if likely := [w for w in self._generating if w.likely_at <= now]:
            return self._take(min(likely, key=lambda w: w.started_at))
        if self._unstarted:
            return RequestClip(self._unstarted.popleft())
        if self._unlisted:
            return ListSession(self._unlisted.popleft())
        if not self._generating:
            return None
        early = min(self._generating, key=lambda w: (w.polls, w.started_at))
        early_at = max(self._early_at, early.asked_at + self.policy.delay_s(early.polls))
        if early_at <= now:
            self._early_at = now + self.policy.delay_s(early.polls)
            return self._take(early)
        return WaitUntil(min(early_at, *(w.likely_at for w in self._generating)))

    def still_generating(self, work: ClipWork, now: float) -> bool:
        """The clip is not ready; False when its polls are used up, and it is given up."""
        if work.polls == 0:
            work.started_at = now
            work.likely_at = now + self._expected_s
        else:
            age = now - work.started_at
            self._learn(age, ready=False)
            work.likely_at = max(
                work.started_at + max(GROWTH * age, self._expected_s), now + self.policy.delay_s(work.polls)
            )
        work.polls += 1
        work.asked_at = now
        if work.polls >= self.policy.max_attempts:
            return False
        self._generating.append(work)
        return True

    def generated(self, work: ClipWork, now: float) -> None:
        """The clip's link was issued."""
        if work.polls:
            self._learn(now - work.started_at, ready=True)
            self._early_at = now
            for other in self._generating:
                if other.polls == 1:
                    other.likely_at = min(other.likely_at, other.started_at + self._expected_s)

    def failed(self, work: ClipWork) -> bool:
        """The API said ERROR; the next request starts a new attempt. False when that was the last one."""
        if work.generation >= GENERATION_ATTEMPTS:
            return False
        work.generation += 1
        work.polls = 0
        self._unstarted.append(work)
        return True

    def requests_ahead(self) -> int:
        """About how many requests all known work still needs."""
        return (
            UNLISTED_REQUESTS * len(self._unlisted)
            + 2 * len(self._unstarted)
            + len(self._generating)
            + len(self._ready)
        )

    def _take(self, work: ClipWork) -> RequestClip:
        self._generating.remove(work)
        return RequestClip(work)

    def _learn(self, age_s: float, *, ready: bool) -> None:
        """Track the time after which all but `TARGET_MISSES` of the clips are ready (a stochastic quantile)."""
        if ready and age_s < self._expected_s:
            # it was ready early: the truth lies below what was expected; come down quickly, never below what was seen
            self._expected_s = max(age_s, self._expected_s * math.exp(-LEARNING_RATE))
        elif ready:
            self._expected_s *= math.exp(-LEARNING_RATE * TARGET_MISSES)
        elif age_s >= 0.9 * self._expected_s:
            self._expected_s = max(self._expected_s, age_s) * math.exp(LEARNING_RATE * (1 - TARGET_MISSES))
