"""Waiting for what another process does, and not waiting for what is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import tenacity.nap

from ut_clips_dagster.results_api.client import ResultsApi


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails and may pass is tried again at once, by whatever in this process."""
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setitem(ResultsApi.__init__.__kwdefaults__, "sleep", lambda _: None)


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
