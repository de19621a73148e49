"""How long the generation of clips takes, learned from polls that came too early or found a clip ready. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

REMEMBERED = 200
"""Clips: as many as show a share of a few percent, and few enough to follow a change."""


@dataclass
class _Seen:
    generating_s: float = 0.0
    ready_s: float | None = None


@dataclass
class GenerationTimes:
    """Tells the age at which clips are likely ready.

    Args:
        prior_s: what counts as seen once before anything is.
        growth: beyond all that was seen ready, so many times the greatest age seen generating.
    """

    prior_s: float
    growth: float
    _clips: OrderedDict[Hashable, _Seen] = field(default_factory=OrderedDict)
    _answers: dict[float, float] = field(default_factory=dict)

    def not_ready(self, clip: Hashable, age_s: float) -> None:
        """A clip was still generating at this age."""
        seen = self._of(clip)
        seen.generating_s = max(seen.generating_s, age_s)

    def ready(self, clip: Hashable, age_s: float) -> None:
        """A clip was found ready at this age."""
        self._of(clip).ready_s = age_s

    def ready_by(self, share: float) -> float:
        """The least age, among those at which clips were found ready, at which at most `share` were not."""
        if share not in self._answers:
            self._answers[share] = self._ready_by(share)
        return self._answers[share]

    def _ready_by(self, share: float) -> float:
        late = sorted(seen.generating_s for seen in self._clips.values() if seen.generating_s)
        ready = sorted([self.prior_s, *(s.ready_s for s in self._clips.values() if s.ready_s is not None)])
        not_ready_yet = 0  # of `late`, those at or below the age looked at
        for found, age_s in enumerate(ready, start=1):
            while not_ready_yet < len(late) and late[not_ready_yet] < age_s:
                not_ready_yet += 1
            too_early = len(late) - not_ready_yet
            if too_early <= share * (found + too_early):
                return age_s
        return max(self.growth * late[-1], ready[-1])

    def _of(self, clip: Hashable) -> _Seen:
        self._answers.clear()
        seen = self._clips.setdefault(clip, _Seen())
        if len(self._clips) > REMEMBERED:
            self._clips.popitem(last=False)
        return seen
