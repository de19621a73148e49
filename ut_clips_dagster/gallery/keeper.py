"""Keeps the index fresh in a thread of its own, and tells how far it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.gallery.index import Index

if TYPE_CHECKING:
    from ut_clips_dagster.storage.session_table import SessionTable

LOOK_EVERY_S = 5.0
"""In a directory a look costs milliseconds; in a bucket some requests, so it is made more seldom there."""
LOOK_EVERY_IN_BUCKET_S = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """How the index stands."""

    building: bool = True
    rows_done: int = 0
    rows: int = 0
    problem: str | None = None
    """Why it is not up to date: the tables cannot be read, or the index not written."""


class Keeper:
    """Builds and refreshes the index until it is closed."""

    def __init__(self, index: Index, tables: Mapping[str, SessionTable], look_every_s: float = LOOK_EVERY_S) -> None:
        self._index = index
        self._tables = tables
        self._look_every_s = look_every_s
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gallery-index", daemon=True)
        self.state = State()

    def start(self) -> None:
        """Begin, beside whoever asks the index meanwhile."""
        self._thread.start()

    def close(self) -> None:
        """Begin nothing more; what is being built is given up with the process."""
        self._ended.set()
        self._wanted.set()
        self._thread.join(timeout=1)

    def look(self) -> None:
        """Look now, not only in some seconds: the index was found damaged."""
        self._wanted.set()

    def refresh(self) -> None:
        """Look once for changes, and take them over."""
        try:
            self._index.refresh(self._tables, self._tell)
        except ClipsError as error:
            if self.state.problem is None:
                log.warning("The gallery's index is not up to date: %s", error)
            self.state = replace(self.state, problem=str(error))
            return
        self.state = State(building=self._index.path is None)  # None: another gallery builds it

    def _run(self) -> None:
        self._index.check()
        while not self._ended.is_set():
            self.refresh()
            self._wanted.wait(self._look_every_s)
            self._wanted.clear()

    def _tell(self, done: int, rows: int) -> None:
        self.state = replace(self.state, building=self._index.path is None, rows_done=done, rows=rows)
