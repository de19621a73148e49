"""Whether a run is still wanted: one that was ended elsewhere, perhaps while its network was cut, must stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ut_clips_dagster.errors import RunEndedError

LOOK_EVERY_S = 3.0
"""A look takes some milliseconds; so a run that was ended sends nothing for longer than this."""


class RunWatch:
    """Asks now and then whether the run was ended; may be asked from several threads.

    Args:
        ended: says whether the run was ended; once it has, it is not asked again.
        clock: monotonic seconds.
    """

    def __init__(self, ended: Callable[[], bool], clock: Callable[[], float]) -> None:
        self._ended = ended
        self._clock = clock
        self._next_look = clock()
        self._over = False
        self._lock = threading.Lock()

    def check(self) -> None:
        """Go on only if the run is wanted; looks when the last look is a while ago.

        Raises:
            RunEndedError: it was ended.
        """
        with self._lock:
            if not self._over and (now := self._clock()) >= self._next_look:
                self._next_look = now + LOOK_EVERY_S
                self._over = self._ended()
        if self._over:
            raise RunEndedError("This run was ended. It stops here; what it stored is kept.")

    def sleeping(self, sleep: Callable[[float], None]) -> Callable[[float], None]:
        """The same sleep, in pieces, with a look between them: a run waits for its budget for up to 15 minutes."""

        def watched(seconds: float) -> None:
            until = self._clock() + seconds
            while (left := until - self._clock()) > 0:
                self.check()
                sleep(min(left, LOOK_EVERY_S))

        return watched
