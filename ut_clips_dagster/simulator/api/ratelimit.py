"""The rate limit: so many requests per client in a fixed window that its first request opens."""

import threading
from dataclasses import dataclass

from ut_clips_dagster.simulator.world.clock import SimulatedClock


@dataclass(frozen=True)
class Admission:
    """Whether a request is let in, and what its answer says of the limit; `reset_s` in whole real seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int


@dataclass(frozen=True)
class _Window:
    opened_at_s: float
    used: int


class RateLimiter:
    """Counts each client's requests; safe to use from any thread.

    Args:
        clock: whose simulated seconds the window is laid down in.
        limit: requests per window.
        window_s: length of a window, simulated seconds.
    """

    def __init__(self, clock: SimulatedClock, limit: int, window_s: float) -> None:
        self._clock = clock
        self._limit = limit
        self._window_s = window_s
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def admit(self, client: str) -> Admission:
        """Count one request of a client, if it is still allowed; a refused one costs nothing."""
        with self._lock:
            window = self._current(client)
            allowed = window.used < self._limit
            return self._keep(client, window, used=window.used + allowed, allowed=allowed)

    def spend(self, client: str, requests: int | None = None) -> Admission:
        """Use up so many requests (None: all that are left) as another process of the same client would."""
        with self._lock:
            window = self._current(client)
            used = self._limit if requests is None else min(self._limit, window.used + requests)
            return self._keep(client, window, used=used, allowed=False)

    def reset(self) -> None:
        """Close every window: the next request of each client opens a new one."""
        with self._lock:
            self._windows.clear()

    def _current(self, client: str) -> _Window:
        now_s = self._clock.elapsed_s()
        window = self._windows.get(client)
        if window is None or now_s >= window.opened_at_s + self._window_s:
            return _Window(now_s, used=0)
        return window

    def _keep(self, client: str, window: _Window, *, used: int, allowed: bool) -> Admission:
        self._windows[client] = _Window(window.opened_at_s, used)
        left_s = window.opened_at_s + self._window_s - self._clock.elapsed_s()
        # At least 1: this window is not over yet, even if it is by the time the header is computed.
        return Admission(allowed, self._limit, self._limit - used, max(1, self._clock.wire_seconds_up(left_s)))
