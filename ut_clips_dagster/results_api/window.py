"""One counter of the API's request budget: what is left of the window, and when the next request is worth sending."""

from __future__ import annotations

import math
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
FRESH = 3
"""The first window that is seen is fresh when no more than so many of its requests are used."""
TOO_MANY_REQUESTS = 429


@dataclass
class Window:
    """The window that the counters of the answers describe. Pure: each method is told the time.

    Two ways of spending it:

    - at once;
    - late (`spread`, a batch): one request opens the window, the others follow evenly in its last quarter. Until then
      they are there for whoever else asks; what is left then is used.

    Dagster runs one batch at a time, so nobody else is expected. Several processes that share a window all the same
    take turns in its last quarter: each sees from its last two answers how many requests the others send between them,
    and stops when that many are left. So all are used and hardly any is refused; who is refused waits.
    """

    jitter: Callable[[], float] = lambda: random.uniform(0, MAX_JITTER_S)  # noqa: S311 - no secret
    spread: bool = False
    limit: int = field(default=DEFAULT_LIMIT, init=False)
    remaining: int = field(default=DEFAULT_LIMIT, init=False)
    _period_s: float | None = field(default=None, init=False)
    _ends_at: float | None = field(default=None, init=False)
    _fresh_until: float = field(default=-math.inf, init=False)
    _others: int = field(default=0, init=False)
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

    def is_fresh(self, now: float) -> bool:
        """Whether this is the first window seen, and was hardly used before."""
        return now < self._fresh_until

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
        if self._ends_at is None or now >= self._ends_at:
            return 0.0
        if self.remaining <= (self._others if self.spread else 0):
            return self._ends_at - now
        if not self.spread:
            return 0.0
        late_at = self._ends_at - RESET_ROUNDING_S - self._late_s * self.remaining / self.limit
        return max(0.0, late_at - now)

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
            self._others = max(0, self.remaining - remaining)
            self.remaining = min(self.remaining, remaining)
        else:
            opened = remaining >= self.limit - 1
            seen_s = max(reset_s, RESET_ROUNDING_S)
            self._period_s = seen_s if opened else max(seen_s, self._period_s or 0.0)
            if self._ends_at is None and remaining >= self.limit - FRESH:
                self._fresh_until = ends_at
            self._others = self._others * 3 // 4  # whoever is not seen again is believed less and less
            self._ends_at, self.remaining = ends_at, remaining

    def _is_same(self, now: float, ends_at: float) -> bool:
        known = self._ends_at
        return known is not None and now < known and ends_at <= known + RESET_ROUNDING_S

    def _refused(self, now: float, reset_s: float | None, retry_after_s: float | None) -> None:
        known_s = self._ends_at - now if self._ends_at is not None else None
        wait_s = next((s for s in (reset_s, retry_after_s, known_s) if s is not None and s > 0), self.period_s)
        self._others = self.remaining + 1
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
