"""How clips come to be generated.

The official document: the first request for a clip's details starts its generation and says GENERATING; once it is
done, every request says GENERATED and gives a new link; ERROR is said once, and the next request starts a new attempt.
"""

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ut_clips_dagster.simulator.world.state import Clip, ClipStatus


@dataclass(frozen=True)
class Attempt:
    """One attempt at generating a clip; it ends at `ready_at_s` simulated seconds of the clock."""

    number: int
    ready_at_s: float
    fails: bool
    reported: bool = False

    @property
    def is_over(self) -> bool:
        """Whether its ERROR has been told, so that the next request starts another attempt."""
        return self.fails and self.reported


class Generations:
    """The attempts at every clip that was asked for; safe to use from any thread."""

    def __init__(self, seed: int, constant_s: float | None, median_s: float, sigma: float) -> None:
        self._seed = seed
        self._constant_s = constant_s
        self._median_s = median_s
        self._sigma = sigma
        self._attempts: dict[tuple[str, str], Attempt] = {}
        self._lock = threading.Lock()

    def ask(self, clip: Clip, now_s: float, fails: Callable[[], bool]) -> ClipStatus:
        """What a request at `now_s` is told; it starts an attempt where none is on.

        Args:
            clip: the clip that is asked for.
            now_s: simulated seconds of the clock.
            fails: whether an attempt that is started now will end in ERROR; called only when one is.
        """
        with self._lock:
            # A clip cut anew is another file to generate.
            key = (clip.clip_uuid, clip.cut)
            attempt = self._attempts.get(key)
            if attempt is None or attempt.is_over:
                number = attempt.number + 1 if attempt else 1
                started = Attempt(number, now_s + self._takes_s(clip, number), fails())
                self._attempts[key] = started
                return ClipStatus.GENERATING
            if now_s < attempt.ready_at_s:
                return ClipStatus.GENERATING
            if attempt.fails:
                self._attempts[key] = Attempt(attempt.number, attempt.ready_at_s, fails=True, reported=True)
                return ClipStatus.ERROR
            return ClipStatus.GENERATED

    def attempts(self, clip: Clip) -> int:
        """How many attempts at a clip, as it is cut now, were started."""
        with self._lock:
            attempt = self._attempts.get((clip.clip_uuid, clip.cut))
            return attempt.number if attempt else 0

    def _takes_s(self, clip: Clip, number: int) -> float:
        if clip.generation_s is not None:
            return clip.generation_s
        if self._constant_s is not None:
            return self._constant_s
        # Seeded by clip and attempt, so that a clip takes as long whatever else is asked for, and in which order.
        dice = random.Random(f"{self._seed}/{clip.clip_uuid}/{number}")  # noqa: S311  # repeatable, no secret
        return dice.lognormvariate(math.log(self._median_s), self._sigma)
