"""Pacing by the API's own counters, beneath every attempt of every request.

Every answer carries `x-ratelimit-limit`, `-remaining` and `-reset` (whole seconds until the window ends). They count
the requests of all processes that use the account, so they are the state that runs, sensors and machines share: no
service of ours is needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import httpx

from ut_clips_dagster.errors import BudgetExhaustedError
from ut_clips_dagster.results_api.window import TOO_MANY_REQUESTS, Told, Window

MAX_WAIT_S = 900.0
OPERATION = "operation"
"""Name of the request's extension that tells its `Operation`."""


class Operation(Enum):
    """The API's operations, by the last part of their `operationId`."""

    LIST_SESSIONS = "getSessionSummaryResults"
    LIST_CLIPS = "getClips"
    REQUEST_CLIP = "getClipDetails"
    GET_TRANSCRIPT = "getTranscriptVtt"


@dataclass
class Pacer:
    """Says when the next request may be sent, and counts.

    Whether the API counts for an account or for each operation is not documented (design, 1): all operations share a
    window, until their answers prove that they do not; from then on each has its own. The proof takes three answers:
    one operation's, another's with more left before that window is over, and the first one's again, which goes on
    counting down in its old window. Two alone may be a window that is over already: the machine slept, or an answer
    was slow.

    `waiting=False` never waits: a sensor skips its tick instead. Times are seconds of `clock`, which is monotonic.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    shared: Window = field(default_factory=Window)
    waiting: bool = True
    requests_sent: int = field(default=0, init=False)
    _own: dict[Operation | None, Window] | None = field(default=None, init=False)
    _told: dict[Operation | None, Told] = field(default_factory=dict, init=False)
    _suspects: set[Operation | None] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def window(self, operation: Operation | None = None) -> Window:
        """The window that this operation's requests are counted in."""
        if self._own is None:
            return self.shared
        if operation not in self._own:
            self._own[operation] = self.shared.another(self.clock())
        return self._own[operation]

    def delay_s(self, operation: Operation | None = None) -> float:
        """Seconds until a request may be sent; 0 when it may be sent now."""
        with self._lock:
            return self.window(operation).delay_s(self.clock())

    def available(self, operation: Operation | None = None) -> int:
        """Requests that may be left of the window, as far as this process knows."""
        with self._lock:
            return self.window(operation).available(self.clock())

    def acquire(self, operation: Operation | None = None, deadline: float | None = None) -> None:
        """Wait until a request may be sent, and count it.

        Args:
            operation: the request's.
            deadline: time of `clock` beyond which it does not wait; None is `MAX_WAIT_S` from now.

        Raises:
            BudgetExhaustedError: at once when this pacer does not wait, or the deadline would pass.
        """
        deadline = self.clock() + MAX_WAIT_S if deadline is None else deadline
        while True:
            with self._lock:
                window = self.window(operation)
                delay = window.delay_s(now := self.clock())
                if delay <= 0:
                    window.take(now)
                    self.requests_sent += 1
                    return
            if not self.waiting or now + delay > deadline:
                raise BudgetExhaustedError(f"The account's request budget is used up (next request in {delay:.0f} s).")
            self.sleep(delay)

    def observe(self, status: int, headers: Mapping[str, str], operation: Operation | None = None) -> None:
        """Learn from an answer's counters."""
        with self._lock:
            now, told = self.clock(), Told.by(self.clock(), headers)
            if self._own is None and told:
                if self._goes_on_apart(operation, told):
                    apart = {o: self.shared.another(now, t) for o, t in self._told.items()}
                    self._own = {**apart, operation: self.shared}
                elif self._contradicts(now, operation, told):
                    return  # of another window, or a new one: the next answer tells which
            self.window(operation).observe(now, status, headers)

    def _goes_on_apart(self, operation: Operation | None, told: Told) -> bool:
        """The third answer of the proof."""
        before = self._told.get(operation)
        is_suspect = operation in self._suspects
        self._suspects.discard(operation)
        return is_suspect and before is not None and told.continues(before)

    def _contradicts(self, now: float, operation: Operation | None, told: Told) -> bool:
        """The second answer of the proof: others had less left, in windows that are not over."""
        self._told[operation] = told
        suspects = {o for o, t in self._told.items() if t.remaining < told.remaining and not t.is_over(now)}
        self._suspects |= suspects
        return bool(suspects)


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
        operation = request.extensions.get(OPERATION)
        deadline = self._pacer.clock() + MAX_WAIT_S
        while True:
            self._pacer.acquire(operation, deadline)
            response = self._inner.handle_request(request)
            self._pacer.observe(response.status_code, response.headers, operation)
            if response.status_code != TOO_MANY_REQUESTS:
                return response
            response.close()
            if not self._pacer.waiting or self._pacer.clock() >= deadline:
                raise BudgetExhaustedError(
                    "The Results API keeps answering 429: other processes use the whole request budget. "
                    "Run fewer of them, or try again later."
                )

    def close(self) -> None:
        """Close the connections beneath."""
        self._inner.close()
