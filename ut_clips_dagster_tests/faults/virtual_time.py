"""Time that passes at once when somebody sleeps, for client and simulator alike: real limits, no waiting."""

from __future__ import annotations

import threading
import time


class VirtualTime:
    """Real time plus what was slept."""

    def __init__(self) -> None:
        self._slept_s = 0.0
        self._lock = threading.Lock()

    def clock(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self._slept_s

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._slept_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._slept_s += seconds
