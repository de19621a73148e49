"""Threads that nobody has to wait for: a run that is interrupted ends at once, whatever a media host is doing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class DownloadThreads:
    """Like a ThreadPoolExecutor; but the threads are daemons, and are not waited for when the process ends.

    They may die at any moment: that is no more than a `kill -9` does.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        for index in range(number):
            threading.Thread(target=self._work, name=f"download_{index}", daemon=True).start()

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Do this in one of the threads; a future that is cancelled before its turn is passed over."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*args))
            except BaseException as error:  # noqa: BLE001 - it is raised where the future is asked
                future.set_exception(error)

        self._queue.put(run)
        return future

    def close(self) -> None:
        """Let the threads end when they have done what was submitted; does not wait for it."""
        for _ in range(self._number):
            self._queue.put(None)

    def _work(self) -> None:
        while (run := self._queue.get()) is not None:
            run()
