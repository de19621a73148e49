"""Progress of a running pipeline, for a person who watches it in the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Progress:
    """Counts of a running pipeline."""

    sessions: int = 0
    sessions_done: int = 0
    sessions_unfinished: int = 0
    clips: int = 0
    clips_stored: int = 0
    bytes_stored: int = 0
    requests: int = 0
    waiting_s: float = 0.0


_watchers: ContextVar[tuple[Callable[[Progress], None], ...]] = ContextVar("watchers", default=())


@contextmanager
def watched_by(show: Callable[[Progress], None]) -> Iterator[None]:
    """Call `show`, too, with the counts of every pipeline that moves on in this context."""
    token = _watchers.set((*_watchers.get(), show))
    try:
        yield
    finally:
        _watchers.reset(token)


def report(progress: Progress) -> None:
    """Tell all who watch."""
    for show in _watchers.get():
        show(progress)
