"""Time of the simulator: one clock, at a chosen pace.

Durations (rate-limit windows, generation, token and link lifetimes) are laid down in simulated seconds. What crosses
the wire (timestamps, `x-ratelimit-reset`, `expires_in`, `X-Amz-Expires`) is in the client's own, real time: a client
knows of no other, and would otherwise wait for the wrong moment.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone


class SimulatedClock:
    """A clock that runs `time_scale` times faster than the real one.

    Args:
        time_scale: simulated seconds per real second.
        now: source of real time, in seconds since the epoch; tests pass one they can set.
    """

    def __init__(self, time_scale: float = 1.0, now: Callable[[], float] = time.time) -> None:
        if not time_scale > 0:
            raise ValueError(f"time_scale must be above 0, not {time_scale}")
        self.time_scale = time_scale
        self._now = now
        self._started = now()

    def elapsed_s(self) -> float:
        """Simulated seconds since the clock was made."""
        return (self._now() - self._started) * self.time_scale

    def now(self) -> datetime:
        """The simulated moment, aware, in UTC."""
        return datetime.fromtimestamp(self._started, timezone.utc) + timedelta(seconds=self.elapsed_s())

    def wire_now(self) -> datetime:
        """The real moment, aware, in UTC: what a client's own clock shows."""
        return datetime.fromtimestamp(self._now(), timezone.utc)

    def wire_at(self, elapsed_s: float) -> datetime:
        """The real moment at which `elapsed_s` simulated seconds have passed; negative is before the start."""
        return datetime.fromtimestamp(self._started + elapsed_s / self.time_scale, timezone.utc)

    def wire_seconds_up(self, simulated_s: float) -> int:
        """Whole real seconds for a simulated duration, rounded up: after them it is surely over."""
        return math.ceil(simulated_s / self.time_scale)

    def wire_seconds_down(self, simulated_s: float) -> int:
        """Whole real seconds for a simulated lifetime, rounded down, at least 1: within them it surely lasts."""
        return max(1, math.floor(simulated_s / self.time_scale))
