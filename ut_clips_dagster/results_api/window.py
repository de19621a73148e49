"""One counter of the API's request budget: what is left of the window, and when the next request is worth sending."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ut_clips_dagster.results_api.counters import Counters

DEFAULT_LIMIT = 10
DEFAULT_PERIOD_S = 60.0
MAX_JITTER_S = 0.1
RESET_ROUNDING_S = 1.0
LATE_SHARE = 0.25
"""A batch spends a window in its last quarter, and leaves it to others before that."""
HEADROOM = 1.5
"""When requests take long, a batch begins so many times earlier than they would just fit in."""
SMOOTHING = 0.3
"""Weight of the newest request in how long requests take."""
ALWAYS_TRIED = 3
"""A batch asks again while fewer requests of the window than this are used, whatever others did before."""
TOO_MANY_REQUESTS = 429


@dataclass
class Window:
    """The window that the counters of the answers describe. Pure: each method is told the time.

    Two ways of spending it:

    - at once (an interactive run);
    - late (`spread`, a batch): one request opens the window, the others follow evenly in its last quarter. Until then
      they are there for whoever else asks; what is left then is used. Only the process that opened the last window,
      or saw nobody else in it, opens the next at once: the others cannot tell whether it is open without spending a
      request, so they ask in the last quarter, and whoever finds the window unopened has opened it.

    Batches that share a window take turns in its last quarter. Each sees from its answers how many requests the
    others send between two of its own, and stops when that many are left: two batches stop at 1. So all are used and
    hardly any is refused. What was not seen again for a window is believed by half.
    """

    jitter: Callable[[], float] = lambda: random.uniform(0, MAX_JITTER_S)  # noqa: S311 - no secret
    spread: bool = False
    limit: int = field(default=DEFAULT_LIMIT, init=False)
    remaining: int = field(default=DEFAULT_LIMIT, init=False)
    _period_s: float | None = field(default=None, init=False)
    _ends_at: float | None = field(default=None, init=False)
    _opened_last: bool = field(default=False, init=False)
    _alone_so_far: bool | None = field(default=None, init=False)
    _others: int = field(default=0, init=False)
    _others_before: int = field(default=0, init=False)
    _others_seen: bool = field(default=False, init=False)
    _answered_at: float = field(default=0.0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _sent_at: float | None = field(default=None, init=False)
    _request_takes_s: float = field(default=0.0, init=False)
    _in_ms: bool = field(default=False, init=False)

    @property
    def period_s(self) -> float:
        """Length of a window, as far as it is known."""
        return self._period_s or DEFAULT_PERIOD_S

    def available(self, now: float) -> int:
        """Requests that may be left, as far as this process knows: all of them once the window is over."""
        return self.limit if self._is_over(now) else max(0, self.remaining)

    def take(self, now: float) -> None:
        """Count a request that is sent now."""
        if self._is_over(now):
            self.remaining = self.limit
        self.remaining -= 1
        self._sent_at = now

    def another(self, now: float, told: Told | None = None) -> Window:
        """A window of its own, of the same limit and length, for an operation that is not counted in this one."""
        window = Window(self.jitter)
        window.limit = window.remaining = self.limit
        window._period_s = self._period_s
        if told and not told.is_over(now):
            window._learn(now, told.remaining, told.ends_at - now)
        return window

    def observe(self, now: float, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer's counters; a 429 without them waits for Retry-After, the known reset, or 60 s."""
        told = Counters.of(headers, in_ms=self._in_ms)
        self._in_ms = told.in_ms
        if told.limit is not None:
            self.limit = told.limit
        if status == TOO_MANY_REQUESTS:
            self._refused(now, told.reset_s, told.retry_after_s)
        elif told.reset_s is not None and told.remaining is not None:
            self._learn(now, told.remaining, told.reset_s)

    def delay_s(self, now: float) -> float:
        """Seconds until a request may be sent; 0 when it may be sent now."""
        self._measure(now)
        if now < self._not_before:
            return self._not_before - now
        ends_at = self._ends_at
        if ends_at is None:
            return 0.0
        if now < ends_at:
            if self.remaining <= self._left_to_others():
                return ends_at - now
            late_at = ends_at - RESET_ROUNDING_S - self._late_s * self.remaining / self.limit
        else:
            late_at = (
                now
                if self._opened_last or self._alone_so_far
                else ends_at + self.period_s - RESET_ROUNDING_S - self._late_s
            )
        return max(0.0, late_at - now) if self.spread else 0.0

    def _left_to_others(self) -> int:
        return max(0, min(self._others, self.limit - ALWAYS_TRIED)) if self.spread else 0

    @property
    def _late_s(self) -> float:
        """Length of the last part of a window, in which a batch spends it."""
        return max(LATE_SHARE * self.period_s, min(self.period_s, HEADROOM * self._request_takes_s * self.limit))

    def _measure(self, now: float) -> None:
        """How long a request and all that is done with its answer takes: a late start must leave room for that."""
        if self._sent_at is not None:
            took_s = min(now - self._sent_at, self.period_s / self.limit)
            self._request_takes_s += SMOOTHING * (took_s - self._request_takes_s)
            self._sent_at = None

    def _is_over(self, now: float) -> bool:
        return self._ends_at is not None and now >= self._ends_at

    def _learn(self, now: float, remaining: int, reset_s: float) -> None:
        ends_at = now + reset_s
        if self._is_same(now, ends_at):
            # `reset` is rounded up: the earliest end told is the nearest to the truth, never before it
            self._ends_at = min(self._ends_at or ends_at, ends_at)
            self._alone_so_far = self._alone_so_far is not False and remaining >= self.remaining
            if now - self._answered_at <= self._late_s:
                self._share_with(self.remaining - remaining)
                self._others_seen = True
            self._answered_at = now
            self.remaining = min(self.remaining, remaining)
            return
        if self._ends_at is None:  # our first answer: whoever used the window so far goes on
            self._others = self._others_before = max(0, self.limit - 1 - remaining)
        elif not self._others_seen:  # two that leave the window to each other send too seldom to see that it is left
            self._others = self._others_before = self._others // 2
        self._others_seen = False
        self._ends_at, self._answered_at = ends_at, now
        self.remaining = remaining
        self._opened_last = remaining >= self.limit - 1
        self._alone_so_far = None
        seen_s = max(reset_s, RESET_ROUNDING_S)
        self._period_s = seen_s if self._opened_last else max(seen_s, self._period_s or 0.0)

    def _share_with(self, others: int) -> None:
        """Others sent so many requests since our last; only what is seen twice is a habit, once it is a passer-by."""
        self._others = max(0, min(others, self._others_before))
        self._others_before = others

    def _is_same(self, now: float, ends_at: float) -> bool:
        known = self._ends_at
        return known is not None and now < known and ends_at <= known + RESET_ROUNDING_S

    def _refused(self, now: float, reset_s: float | None, retry_after_s: float | None) -> None:
        known_s = self._ends_at - now if self._ends_at is not None else None
        wait_s = next((s for s in (reset_s, retry_after_s, known_s) if s is not None and s > 0), self.period_s)
        self._others = self._others_before = self.remaining + 1
        self._others_seen = True
        self._alone_so_far = False
        self.remaining = 0
        self._ends_at = now + wait_s
        self._not_before = now + wait_s + self.jitter()


@dataclass(frozen=True)
class Told:
    """What an answer tells of its window."""

    remaining: int
    ends_at: float

    @classmethod
    def by(cls, now: float, headers: Mapping[str, str]) -> Told | None:
        """None when the counters are missing or cannot be read."""
        told = Counters.of(headers)
        if told.remaining is None or told.reset_s is None:
            return None
        return cls(told.remaining, now + told.reset_s)

    def is_over(self, now: float) -> bool:
        """Whether the window may be over: `reset` is rounded up, so it may end up to a second before it told."""
        return now >= self.ends_at - RESET_ROUNDING_S

    def continues(self, before: Told) -> bool:
        """Whether it goes on counting down in the same window."""
        return self.remaining < before.remaining and abs(self.ends_at - before.ends_at) <= RESET_ROUNDING_S
