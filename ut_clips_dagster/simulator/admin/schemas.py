"""What `/_simulator/` takes and gives."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from ut_clips_dagster.simulator.admin.requestlog import LoggedRequest
from ut_clips_dagster.simulator.api.calls import Operation
from ut_clips_dagster.simulator.config import LowerUuid
from ut_clips_dagster.simulator.faults.faults import Fault
from ut_clips_dagster.simulator.faults.names import FaultName
from ut_clips_dagster.simulator.world.state import COMPLETE, Clip, Layout, Session


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClipState(_Model):
    """A clip, and how many attempts at generating it were started."""

    clip_uuid: str
    name: str
    description: str
    time_start_ms: int
    time_end_ms: int
    layout: Layout | None
    media_size_bytes: int | None
    generation_attempts: int

    @classmethod
    def of(cls, clip: Clip, attempts: int) -> "ClipState":
        """A clip as it is now."""
        return cls(
            clip_uuid=clip.clip_uuid,
            name=clip.name,
            description=clip.description,
            time_start_ms=clip.time_start_ms,
            time_end_ms=clip.time_end_ms,
            layout=clip.layout,
            media_size_bytes=clip.media_size_bytes,
            generation_attempts=attempts,
        )


class SessionState(_Model):
    """A session and its clips."""

    session_id: str
    test_id: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    has_video: bool
    has_transcript: bool
    clips: tuple[ClipState, ...]

    @classmethod
    def of(cls, session: Session, clips: tuple[ClipState, ...]) -> "SessionState":
        """A session as it is now."""
        return cls(
            session_id=session.session_id,
            test_id=session.test_id,
            status=session.status,
            started_at=session.started_at,
            finished_at=session.finished_at,
            has_video=session.has_video,
            has_transcript=session.has_transcript,
            clips=clips,
        )


class WorldState(_Model):
    """Everything that a client can find."""

    now: datetime
    test_ids: tuple[str, ...]
    sessions: tuple[SessionState, ...]


class LogEntry(_Model):
    """One request of the log."""

    at: datetime
    operation: Operation
    session_id: str | None
    clip_uuid: str | None
    client_id: str | None
    query: str
    status: int | None
    fault: FaultName | None

    @classmethod
    def of(cls, entry: LoggedRequest) -> "LogEntry":
        """An entry as it was noted."""
        return cls(
            at=entry.at,
            operation=entry.operation,
            session_id=entry.session_id,
            clip_uuid=entry.clip_uuid,
            client_id=entry.client_id,
            query=entry.query,
            status=entry.status,
            fault=entry.fault,
        )


class Counted(_Model):
    """How often an operation was answered so."""

    operation: Operation
    status: int | None
    requests: int


class RequestsState(_Model):
    """The request log: counts of all (`api`: without tokens and media), and the newest requests."""

    total: int
    api: int
    counts: tuple[Counted, ...]
    requests: tuple[LogEntry, ...]


class FaultOn(_Model):
    """A fault that is on, the matching requests that it has seen and those it has hit."""

    id: int
    fault: Fault
    seen: int
    hits: int


class NewSession(_Model):
    """A session to add (see `World.add_session`)."""

    test_id: LowerUuid | None = None
    session_id: LowerUuid | None = None
    clips: int = Field(default=0, ge=0)
    status: str = COMPLETE
    has_video: bool = True
    has_transcript: bool = True
    finished_at: datetime | None = None


class NewClip(_Model):
    """A clip to add (see `World.add_clip`)."""

    clip_uuid: LowerUuid | None = None
    name: str | None = None
    description: str | None = None
    time_range_ms: tuple[int, int] | None = None
    has_audio: bool = True
    media_size_bytes: int | None = Field(default=None, ge=0)
    generation_s: float | None = Field(default=None, ge=0)


class NewTranscript(_Model):
    """A session's new transcript; None: there is none."""

    text: str | None


class Rename(_Model):
    """A clip's new name."""

    name: str
    description: str | None = None


class Recut(_Model):
    """A clip's new time range, and layout if that changes."""

    time_start_ms: int
    time_end_ms: int
    layout: Layout | None = None


class Spend(_Model):
    """Requests that another process of the same client uses up; None: all that are left in the window."""

    requests: int | None = Field(default=None, ge=0)
