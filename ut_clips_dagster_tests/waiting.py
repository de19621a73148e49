"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: str, true: Callable[[], object], within_s: float, every_s: float = 0.1) -> float:
    """Wait until a function says yes; returns the seconds that it took.

    Raises:
        TimeoutError: it did not, within the time.
    """
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"Not within {within_s:.0f} s: {what}")
        time.sleep(every_s)
    return time.monotonic() - began
