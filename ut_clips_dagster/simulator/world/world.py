"""The simulated world: tests, their sessions, and the clips that researchers cut from them."""

import threading
from bisect import insort
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ut_clips_dagster.simulator.config import SimulatorConfig
from ut_clips_dagster.simulator.world.clock import SimulatedClock
from ut_clips_dagster.simulator.world.population import Population
from ut_clips_dagster.simulator.world.state import COMPLETE, Clip, Layout, Render, Session
from ut_clips_dagster.simulator.world.transcripts import transcript

_SPACING = timedelta(minutes=17)
"""From one session's end to the next, for those that are there at the start."""


class World:
    """Everything that there is; safe to use from any thread.

    IDs are lower-case UUIDs. Methods that name something which there is not raise `KeyError`.
    """

    def __init__(self, config: SimulatorConfig, clock: SimulatedClock) -> None:
        self.test_ids = config.test_ids
        self._clock = clock
        self._appear_every_s = config.appear_every_s
        self._appeared = 0
        self._population = Population(config.seed)
        self._sessions: dict[str, Session] = {}
        self._completed: dict[str, list[Session]] = {test_id: [] for test_id in config.test_ids}
        self._clips: dict[str, dict[str, Clip]] = {}
        self._renders: dict[tuple[str, str], Render] = {}
        self._transcripts: dict[str, bytes | None] = {}
        self._lock = threading.RLock()
        for number, clips in enumerate(self._population.clip_counts(config.sessions, config.clips_total)):
            # Oldest first, so that later sessions are newer than these whatever their number.
            self._new_session(number, clock.wire_now() - (config.sessions - number) * _SPACING, clips)

    def has_test(self, test_id: str) -> bool:
        """Whether there is such a test."""
        return test_id in self._completed

    def sessions(self, test_id: str | None = None) -> Sequence[Session]:
        """Completed sessions of a test (None: of all), newest first."""
        with self._lock:
            self._catch_up()
            if test_id is not None:
                return self._completed[test_id][::-1]
            return [session for sessions in self._completed.values() for session in reversed(sessions)]

    def session(self, session_id: str) -> Session:
        """One session, completed or not."""
        with self._lock:
            self._catch_up()
            return self._sessions[session_id]

    def clips(self, session_id: str) -> Sequence[Clip]:
        """A session's clips, in the order in which they were cut."""
        with self._lock:
            self._catch_up()
            return list(self._clips[session_id].values())

    def clip(self, session_id: str, clip_uuid: str) -> Clip:
        """One clip of a session."""
        with self._lock:
            return self._clips[session_id][clip_uuid]

    def render(self, clip: Clip) -> Render:
        """The file of a clip as it is cut now; from here on there is such a file, until the clip is deleted."""
        made = Render(clip.session_id, clip.clip_uuid, clip.cut, clip.media_size_bytes, clip.has_audio)
        with self._lock:
            return self._renders.setdefault((clip.clip_uuid, clip.cut), made)

    def find_render(self, clip_uuid: str, cut: str) -> Render:
        """The file of a clip cut so, if it was ever generated and not deleted."""
        with self._lock:
            return self._renders[clip_uuid, cut]

    def transcript(self, session_id: str) -> bytes | None:
        """What is said in a session, as WebVTT; None where its product makes no transcript, or none yet."""
        with self._lock:
            session = self.session(session_id)
            if session_id in self._transcripts:
                return self._transcripts[session_id]
            return transcript(session) if session.has_video and session.has_transcript else None

    def set_transcript(self, session_id: str, body: bytes | None) -> None:
        """From here on the session's transcript is this, whatever it is; None: there is none."""
        with self._lock:
            self.session(session_id)
            self._transcripts[session_id] = body

    def add_session(  # noqa: PLR0913  # everything a test may want to choose, all by keyword
        self,
        *,
        test_id: str | None = None,
        session_id: str | None = None,
        clips: int = 0,
        status: str = COMPLETE,
        has_video: bool = True,
        has_transcript: bool = True,
        finished_at: datetime | None = None,
    ) -> Session:
        """A participant finished a session (just now, unless said otherwise) and `clips` clips were cut from it.

        A session whose status is not COMPLETE is never listed; one without video answers 404 to its clip list,
        one without transcript to that.
        """
        with self._lock:
            drawn = self._population.session(test_id or self.test_ids[0], finished_at or self._clock.wire_now())
            session = replace(
                drawn, session_id=session_id or drawn.session_id, status=status, has_video=has_video,
                has_transcript=has_transcript,
                finished_at=drawn.finished_at if status == COMPLETE else None,
            )  # fmt: skip
            self._store(session, clips)
            return session

    def add_clip(  # noqa: PLR0913  # everything a test may want to choose, all by keyword
        self,
        session_id: str,
        *,
        clip_uuid: str | None = None,
        name: str | None = None,
        description: str | None = None,
        time_range_ms: tuple[int, int] | None = None,
        has_audio: bool = True,
        media_size_bytes: int | None = None,
        generation_s: float | None = None,
    ) -> Clip:
        """A researcher cut a clip from a session; what is not given is made up."""
        with self._lock:
            drawn = self._population.clip(self._sessions[session_id])
            start_ms, end_ms = time_range_ms or (drawn.time_start_ms, drawn.time_end_ms)
            clip = replace(
                drawn,
                clip_uuid=clip_uuid or drawn.clip_uuid,
                name=drawn.name if name is None else name,
                description=drawn.description if description is None else description,
                time_start_ms=start_ms,
                time_end_ms=end_ms,
                has_audio=has_audio,
                media_size_bytes=media_size_bytes,
                generation_s=generation_s,
            )
            return self._put(clip)

    def rename_clip(self, session_id: str, clip_uuid: str, name: str, description: str | None = None) -> Clip:
        """A researcher gave a clip another name; its file stays what it is."""
        with self._lock:
            clip = self._clips[session_id][clip_uuid]
            return self._put(
                replace(clip, name=name, description=clip.description if description is None else description)
            )

    def recut_clip(
        self, session_id: str, clip_uuid: str, time_start_ms: int, time_end_ms: int, layout: Layout | None = None
    ) -> Clip:
        """A researcher moved a clip's ends or streams: it has to be generated again, and its file has other bytes."""
        with self._lock:
            clip = self._clips[session_id][clip_uuid]
            layout = layout or clip.layout
            return self._put(replace(clip, time_start_ms=time_start_ms, time_end_ms=time_end_ms, layout=layout))

    def delete_clip(self, session_id: str, clip_uuid: str) -> None:
        """A clip and its files are gone; links to them answer 404."""
        with self._lock:
            del self._clips[session_id][clip_uuid]
            for key in [key for key in self._renders if key[0] == clip_uuid]:
                del self._renders[key]

    def delete_session(self, session_id: str) -> None:
        """A session and its clips are gone."""
        with self._lock:
            session = self._sessions[session_id]
            for clip_uuid in list(self._clips[session_id]):
                self.delete_clip(session_id, clip_uuid)
            if session.status == COMPLETE:
                self._completed[session.test_id].remove(session)
            del self._sessions[session_id], self._clips[session_id]

    def _catch_up(self) -> None:
        """Let the sessions appear whose time has come since anyone last looked."""
        if self._appear_every_s is None:
            return
        while (due_s := (self._appeared + 1) * self._appear_every_s) <= self._clock.elapsed_s():
            self._appeared += 1
            self._new_session(self._appeared - 1, self._clock.wire_at(due_s), self._population.clip_count())

    def _new_session(self, number: int, finished_at: datetime, clips: int) -> None:
        test_id = self.test_ids[number % len(self.test_ids)]
        self._store(self._population.session(test_id, finished_at), clips)

    def _store(self, session: Session, clips: int) -> None:
        if session.session_id in self._sessions:
            raise ValueError(f"there is a session {session.session_id} already")
        completed = self._completed[session.test_id]
        self._sessions[session.session_id] = session
        self._clips[session.session_id] = {}
        if session.status == COMPLETE:
            insort(completed, session, key=lambda each: (each.finished_at, each.session_id))
        for _ in range(clips):
            self._put(self._population.clip(session))

    def _put(self, clip: Clip) -> Clip:
        if not 0 <= clip.time_start_ms < clip.time_end_ms:
            raise ValueError(f"no time range: {clip.time_start_ms} ms to {clip.time_end_ms} ms")
        self._clips[clip.session_id][clip.clip_uuid] = clip
        return clip
