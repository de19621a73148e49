"""Pacing by the API's own counters, beneath every attempt of every request.

Every answer carries `x-ratelimit-limit`, `-remaining` and `-reset` (whole seconds until the window ends). They count
the requests of all processes that use the account, so they are the state that runs, sensors and machines share: no
service of ours is needed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from ut_clips_dagster.errors import BudgetExhaustedError

DEFAULT_LIMIT = 10
DEFAULT_PERIOD_S = 60.0
MAX_WAIT_S = 900.0
MAX_JITTER_S = 0.1
RESET_ROUNDING_S = 1.0
TOO_MANY_REQUESTS = 429


@dataclass
class Pacer:
    """Says when the next request may be sent.

    Two ways of spending a window: at once (an interactive run), or evenly over the window (`spread`, a batch), which
    leaves what is left of the window to others and makes several batches fall into step, because each counts
    everybody's requests. `waiting=False` never waits: a sensor skips its tick instead.

    Times are seconds of `clock`, which is monotonic.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = lambda: random.uniform(0, MAX_JITTER_S)  # noqa: S311 - no secret
    waiting: bool = True
    spread: bool = False
    limit: int = field(default=DEFAULT_LIMIT, init=False)
    remaining: int = field(default=DEFAULT_LIMIT, init=False)
    requests_sent: int = field(default=0, init=False)
    _window_ends_at: float | None = field(default=None, init=False)
    _period_s: float = field(default=0.0, init=False)
    _shared: bool = field(default=False, init=False)
    _not_before: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def delay_s(self) -> float:
        """Seconds until a request may be sent; 0 when it may be sent now."""
        with self._lock:
            return self._delay_s(self.clock())

    def acquire(self) -> None:
        """Wait until a request may be sent, and count it.

        Raises:
            BudgetExhaustedError: at once when this pacer does not wait, else after `MAX_WAIT_S`.
        """
        deadline = self.clock() + MAX_WAIT_S
        while True:
            with self._lock:
                delay = self._delay_s(now := self.clock())
                if delay <= 0:
                    self._roll_over(now)
                    self.remaining -= 1
                    self.requests_sent += 1
                    return
            if not self.waiting or now + delay > deadline:
                raise BudgetExhaustedError(f"The account's request budget is used up (next request in {delay:.0f} s).")
            self.sleep(delay)

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer's counters; a 429 without them waits for Retry-After, the known reset, or 60 s."""
        with self._lock:
            now = self.clock()
            reset_s = _seconds(headers.get("x-ratelimit-reset"))
            remaining = _seconds(headers.get("x-ratelimit-remaining"))
            if limit := _seconds(headers.get("x-ratelimit-limit")):
                self.limit = max(1, int(limit))
            if reset_s is not None and remaining is not None:
                self._learn(now, int(remaining), reset_s)
            if status == TOO_MANY_REQUESTS:
                self._refused(now, reset_s, _seconds(headers.get("retry-after")))

    def _delay_s(self, now: float) -> float:
        if now < self._not_before:
            return self._not_before - now
        if self._window_ends_at is None or now >= self._window_ends_at:
            return 0.0
        left_s = self._window_ends_at - now
        if self.remaining <= 0:
            return left_s
        used = self.limit - self.remaining
        if not self.spread or used <= 0:
            return 0.0
        due_s = used * self._period_s / self.limit
        return max(0.0, min(left_s, due_s - (self._period_s - left_s)))

    def _roll_over(self, now: float) -> None:
        if self._window_ends_at is not None and now >= self._window_ends_at:
            self._window_ends_at = None
            self.remaining = self.limit

    def _learn(self, now: float, remaining: int, reset_s: float) -> None:
        ends_at = now + reset_s
        self._period_s = max(self._period_s, reset_s)
        same_window = self._window_ends_at is not None and ends_at <= self._window_ends_at + RESET_ROUNDING_S
        self._shared = remaining < self.remaining
        if same_window and self._window_ends_at is not None:
            # `reset` is rounded up: the earliest end told is the nearest to the truth, never before it
            self._window_ends_at = min(self._window_ends_at, ends_at)
            self.remaining = min(self.remaining, remaining)
        else:
            self._window_ends_at = ends_at
            self.remaining = remaining

    def _refused(self, now: float, reset_s: float | None, retry_after_s: float | None) -> None:
        known_s = self._window_ends_at - now if self._window_ends_at is not None else None
        wait_s = next(
            (s for s in (reset_s, retry_after_s, known_s) if s is not None and s > 0),
            self._period_s or DEFAULT_PERIOD_S,
        )
        self.remaining = 0
        self._window_ends_at = now + wait_s
        self._not_before = now + wait_s + self.jitter()


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None


class PacedTransport(httpx.BaseTransport):
    """An httpx transport that paces every attempt.

    A 429 is no failure: it says that another process used the budget, so the request waits and goes on, for at most
    `MAX_WAIT_S` in all.
    """

    def __init__(self, inner: httpx.BaseTransport, pacer: Pacer) -> None:
        self._inner = inner
        self._pacer = pacer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request when the budget allows.

        Raises:
            BudgetExhaustedError: the budget stayed used up.
        """
        started_at = self._pacer.clock()
        while True:
            self._pacer.acquire()
            response = self._inner.handle_request(request)
            self._pacer.observe(response.status_code, response.headers)
            if response.status_code != TOO_MANY_REQUESTS:
                return response
            response.close()
            if not self._pacer.waiting or self._pacer.clock() - started_at > MAX_WAIT_S:
                raise BudgetExhaustedError(
                    "The Results API keeps answering 429: other processes use the whole request budget. "
                    "Run fewer of them, or try again later."
                )

    def close(self) -> None:
        """Close the connections beneath."""
        self._inner.close()
