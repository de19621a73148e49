"""Which request to send next, so that no request of the budget is wasted. Pure: no clock, no network.

Work that surely advances comes first: clips whose generation is likely done (learned from those seen), oldest first;
then new generations; then session lists. A poll that may be too early happens only when the budget would otherwise go
unused, for one clip at a time.

Towards the end of a batch the order turns round: what is left is started first, so that the last clips are generated
while the pick-ups of the others use the budget.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from ut_clips_dagster.archive.documents import ListedClip
from ut_clips_dagster.archive.generation_times import GenerationTimes

GENERATION_ATTEMPTS = 3
"""Starts of one clip's generation before ERROR is final."""
PRIOR_POLLS = 4
"""Before anything is learned, generation is expected to last as long as the first four polls of a lone clip take."""
FIRST_POLLS = 2
"""A batch asks for its first clip when a lone one would be asked for the third time."""
EARLY_SHARE = 0.03
"""Share of pick-ups that may come too early while other work waits for the budget."""
EARLY_SHARE_AT_END = 0.15
"""The same when all is started: then a clip asked for too late costs time."""
GROWTH = 2.0
"""A clip that was not ready when expected is asked for again at this multiple of its age."""
TAIL_PATIENCE = 1 / 40
"""Early polls keep a distance of this share of the time passed so far: no batch lasts longer by more than that."""
GUESSED_CLIPS = 3
"""Clips of a session, before any is listed."""


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


@dataclass(frozen=True)
class Budget:
    """So many requests in so many seconds."""

    limit: int = 10
    period_s: float = 60.0


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

    @property
    def key(self) -> tuple[str, str, int]:
        """One generation of one clip."""
        return self.session_id, self.clip.clip_uuid, self.generation

    @property
    def seen_generating_s(self) -> float:
        """Its age at the last poll that came too early."""
        return self.asked_at - self.started_at


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
    budget: Budget = Budget()
    _unlisted: deque[str] = field(default_factory=deque)
    _unstarted: deque[ClipWork] = field(default_factory=deque)
    _ready: deque[ClipWork] = field(default_factory=deque)
    _generating: list[ClipWork] = field(default_factory=list)
    _begun_at: float = math.inf
    _early_at: float = 0.0
    _early_polls: int = 0
    _sessions_listed: int = 0
    _clips_found: int = 0

    def __post_init__(self) -> None:
        self._times = GenerationTimes(self.policy.patience_s(min(PRIOR_POLLS, self.policy.max_attempts)), GROWTH)

    def add_session(self, session_id: str) -> None:
        """A session to be listed."""
        self._unlisted.append(session_id)

    def drop_unlisted(self) -> list[str]:
        """Give up all sessions not listed yet; returns them."""
        dropped, self._unlisted = list(self._unlisted), deque()
        return dropped

    def drop_session(self, session_id: str) -> None:
        """Ask for nothing more of a session."""
        self._unlisted = deque(each for each in self._unlisted if each != session_id)
        self._unstarted = deque(work for work in self._unstarted if work.session_id != session_id)
        self._ready = deque(work for work in self._ready if work.session_id != session_id)
        self._generating = [work for work in self._generating if work.session_id != session_id]

    def add_clip(self, session_id: str, clip: ListedClip) -> None:
        """A clip whose generation is to be requested."""
        self._clips_found += self._sessions_listed > 0
        self._unstarted.append(ClipWork(session_id, clip))

    def add_relink(self, work: ClipWork) -> None:
        """A generated clip whose link died before it was used: one request gives a new one."""
        self._ready.append(work)

    def next_action(self, now: float, *, may_list: bool = True, may_request: bool = True) -> Action | None:
        """What to send now; None when nothing is left to ask for.

        Args:
            now: seconds of the pipeline's clock.
            may_list: the budget allows a session's list now.
            may_request: it allows a request for a clip; the two differ where the API counts them apart.
        """
        self._begun_at = min(now, self._begun_at)
        if may_request and (action := self._next(now, may_list=may_list)):
            return action
        if may_list and self._unlisted and len(self._unstarted) < self.budget.limit:
            return self._list()  # not far ahead of the requests for clips, or listings are old when they are used
        return WaitUntil(math.inf) if self.lists_ahead() or self.requests_ahead() else None

    def first_pick_up(self, now: float) -> RequestClip | WaitUntil | None:
        """Which clip to fetch though others are not started yet; None when none is generating.

        One after the other, and not before a lone one's third poll: a poll too early costs the batch a request.
        """
        if not self._generating:
            return None
        oldest = min(self._generating, key=lambda w: (w.polls, w.started_at))
        at = max(oldest.started_at + self.policy.patience_s(FIRST_POLLS), self._early_at + self.policy.delay_s(1))
        if now < at:
            return WaitUntil(at)
        self._early_at = now
        return self._take(oldest)

    def still_generating(self, work: ClipWork, now: float) -> bool:
        """The clip is not ready; False when its polls are used up, and it is given up."""
        if work.polls == 0:
            work.started_at = now
        else:
            self._times.not_ready(work.key, now - work.started_at)
        work.polls += 1
        work.asked_at = now
        if work.polls >= self.policy.max_attempts:
            return False
        self._generating.append(work)
        return True

    def generated(self, work: ClipWork, now: float) -> None:
        """The clip's link was issued."""
        if work.polls:
            self._times.ready(work.key, now - work.started_at)
            self._early_at, self._early_polls = now, 0

    def failed(self, work: ClipWork) -> bool:
        """The API said ERROR; the next request starts a new attempt. False when that was the last one."""
        if work.generation >= GENERATION_ATTEMPTS:
            return False
        work.generation += 1
        work.polls = 0
        self._unstarted.append(work)
        return True

    def lists_ahead(self) -> int:
        """How many sessions are still to be listed."""
        return len(self._unlisted)

    def starts_ahead(self) -> bool:
        """Whether a session is still to be listed, or a clip's generation to be started."""
        return bool(self._unlisted or self._unstarted)

    def requests_ahead(self) -> int:
        """About how many requests for clips all known work still needs."""
        return (
            round(2 * len(self._unlisted) * self._clips_per_session())
            + 2 * len(self._unstarted)
            + len(self._generating)
            + len(self._ready)
        )

    def _next(self, now: float, *, may_list: bool) -> Action | None:
        if self._ready:
            return RequestClip(self._ready.popleft())
        to_start = bool(self._unstarted or (self._unlisted and may_list))
        if to_start and self._is_ending():
            return self._start()
        if not to_start:
            due_s = self._times.ready_by(EARLY_SHARE_AT_END)
            return self._likely(now, due_s) or (self._early(now, due_s) if self._generating else None)
        return self._likely(now, self._times.ready_by(EARLY_SHARE)) or self._start()

    def _likely(self, now: float, due_s: float) -> RequestClip | None:
        likely = [w for w in self._generating if self._likely_at(w, due_s) <= now]
        return self._take(min(likely, key=lambda w: w.started_at)) if likely else None

    def _clips_per_session(self) -> float:
        return (GUESSED_CLIPS + self._clips_found) / (1 + self._sessions_listed)

    def _is_ending(self) -> bool:
        """Whether the pick-ups that are left would barely fill the time that the last clip's generation takes."""
        pick_ups = len(self._generating) + len(self._unstarted) + len(self._unlisted) * self._clips_per_session()
        return pick_ups <= self.budget.limit * (1 + self._times.ready_by(EARLY_SHARE) / self.budget.period_s)

    def _start(self) -> Action:
        if self._unstarted:
            return RequestClip(self._unstarted.popleft())
        return self._list()

    def _list(self) -> Action:
        self._sessions_listed += 1
        return ListSession(self._unlisted.popleft())

    def _likely_at(self, work: ClipWork, due_s: float) -> float:
        if work.polls == 1:
            return max(work.started_at + due_s, work.asked_at + self.policy.delay_s(1))
        return max(
            work.started_at + max(due_s, GROWTH * work.seen_generating_s),
            work.asked_at + self.policy.delay_s(work.polls),
        )

    def _early(self, now: float, due_s: float) -> Action:
        """All is started and none is likely done: ask for one clip at a time, with growing delays."""
        work = min(self._generating, key=lambda w: (w.polls, w.started_at))
        apart_s = self.policy.delay_s(self._early_polls + 1)
        if self._early_polls:  # else the last one found its clip ready: all are waited for too long
            apart_s = max(apart_s, TAIL_PATIENCE * (now - self._begun_at))
        at = max(self._early_at + apart_s, work.asked_at + self.policy.delay_s(work.polls))
        if at <= now:
            self._early_at, self._early_polls = now, self._early_polls + 1
            return self._take(work)
        return WaitUntil(min(at, *(self._likely_at(w, due_s) for w in self._generating)))

    def _take(self, work: ClipWork) -> RequestClip:
        self._generating.remove(work)
        return RequestClip(work)
