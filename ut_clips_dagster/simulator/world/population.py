"""Sessions and clips, as a seed makes them."""

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from ut_clips_dagster.simulator.world.phrases import CLIP_PHRASES
from ut_clips_dagster.simulator.world.state import COMPLETE, Clip, Layout, Session

_MOST_CLIPS = 5
_OF_PRODUCTS_WITHOUT = 24
"""Of 256 sessions so many have no transcript, as their product makes none."""
_SHORTEST_SESSION_S, _LONGEST_SESSION_S = 4 * 60, 25 * 60


class Population:
    """Makes one session after the other; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # repeatable, no secret

    def new_uuid(self) -> str:
        """The next UUID, lower case."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def clip_counts(self, sessions: int, total: int | None) -> Iterator[int]:
        """Clips for each of so many sessions: 0 to 5, or dealt at random so that they make exactly `total`."""
        if total is None:
            yield from (self.clip_count() for _ in range(sessions))
            return
        if total and not sessions:
            raise ValueError(f"{total} clips need at least one session")
        # Two rounds more than fair, so that sessions differ as they do in life, and some have none.
        most = max(_MOST_CLIPS, -(-total // max(sessions, 1)) + 2)
        places = [session for session in range(sessions) for _ in range(most)]
        dealt = self._random.sample(places, total)
        counts = [0] * sessions
        for session in dealt:
            counts[session] += 1
        yield from counts

    def clip_count(self) -> int:
        """Clips of one session: 0 to 5."""
        return self._random.randint(0, _MOST_CLIPS)

    def session(self, test_id: str, finished_at: datetime) -> Session:
        """A completed session that ended at `finished_at`."""
        length = timedelta(milliseconds=self._random.randint(_SHORTEST_SESSION_S * 1000, _LONGEST_SESSION_S * 1000))
        session_id = self.new_uuid()
        return Session(
            session_id=session_id,
            test_id=test_id,
            video_uuid=self.new_uuid(),
            audience_id=self.new_uuid() if self._random.random() < 0.8 else None,  # noqa: PLR2004
            status=COMPLETE,
            started_at=finished_at - length,
            finished_at=finished_at,
            has_video=True,
            has_camera=self._random.random() < 0.6,  # noqa: PLR2004
            has_transcript=int(session_id[:2], 16) >= _OF_PRODUCTS_WITHOUT,
        )

    def clip(self, session: Session) -> Clip:
        """A clip of a session, 8 s to 60 s long, somewhere in its video."""
        name, description = self._random.choice(CLIP_PHRASES)
        length_ms = self._random.randint(8_000, 60_000)
        ended = session.finished_at or session.started_at + timedelta(seconds=_SHORTEST_SESSION_S)
        session_ms = max(int((ended - session.started_at) / timedelta(milliseconds=1)), length_ms)
        start_ms = self._random.randint(0, session_ms - length_ms)
        layout = Layout(
            pip_position=self._random.choice(("TOP_LEFT", "TOP_RIGHT", "BOTTOM_LEFT", "BOTTOM_RIGHT")),
            pip_state="OPENED" if session.has_camera else "CLOSED",
        )
        return Clip(
            clip_uuid=self.new_uuid(),
            session_id=session.session_id,
            name=name,
            description=description,
            time_start_ms=start_ms,
            time_end_ms=start_ms + length_ms,
            has_audio=True,
            has_camera=session.has_camera,
            layout=layout,
        )
