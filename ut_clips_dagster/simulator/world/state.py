"""What the simulated world is made of."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

COMPLETE = "COMPLETE"
"""The status of the sessions that the session list holds."""

Stream = Literal["SCREEN", "CAMERA"]
PipPosition = Literal["TOP_LEFT", "TOP_RIGHT", "BOTTOM_LEFT", "BOTTOM_RIGHT"]
PipState = Literal["OPENED", "CLOSED"]


class ClipStatus(str, Enum):
    """What the API says of a clip's generation."""

    GENERATING = "GENERATING"
    GENERATED = "GENERATED"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Layout:
    """How a clip shows the two streams of its session."""

    main_stream: Stream = "SCREEN"
    pip_position: PipPosition = "BOTTOM_RIGHT"
    pip_state: PipState = "OPENED"


@dataclass(frozen=True)
class Session:
    """One participant's session of a test; times are real ones (see `SimulatedClock`), aware, in UTC."""

    session_id: str
    test_id: str
    video_uuid: str
    audience_id: str | None
    status: str
    started_at: datetime
    finished_at: datetime | None
    has_video: bool
    has_camera: bool
    has_transcript: bool = True


@dataclass(frozen=True)
class Clip:
    """One clip: a time range of its session's video, in milliseconds from the session's start.

    `media_size_bytes` makes its file that long (None: as long as the video is, a few kB); `generation_s` makes its
    generation take that many simulated seconds (None: as the simulator draws it).
    """

    clip_uuid: str
    session_id: str
    name: str
    description: str
    time_start_ms: int
    time_end_ms: int
    has_audio: bool
    has_camera: bool
    layout: Layout | None
    media_size_bytes: int | None = None
    generation_s: float | None = None

    @property
    def cut(self) -> str:
        """What of the clip decides over its file: time range and layout, as a name."""
        layout = self.layout
        shown = f"-{layout.main_stream}-{layout.pip_position}-{layout.pip_state}".lower() if layout else ""
        return f"{self.time_start_ms}-{self.time_end_ms}{shown}"


@dataclass(frozen=True)
class Render:
    """A clip's file as it was generated: a later cut makes another one."""

    session_id: str
    clip_uuid: str
    cut: str
    size_bytes: int | None
    has_audio: bool = True

    @property
    def length_s(self) -> float:
        """Length of the clip's time range."""
        start_ms, end_ms = self.cut.split("-")[:2]
        return (int(end_ms) - int(start_ms)) / 1000
