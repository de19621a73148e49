"""Answers of the API, field by field as in the official document (names of the models are its own)."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from ut_clips_dagster.simulator.world.state import Clip, ClipStatus, PipPosition, PipState, Session, Stream


def iso_milliseconds(moment: datetime) -> str:
    """A moment as the API writes it: 2024-11-21T12:23:52.614Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


Moment = Annotated[datetime, PlainSerializer(iso_milliseconds, return_type=str)]
UuidText = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class SessionSummaryResultItemDto(_Answer):
    """One session of the list."""

    session_id: UuidText
    audience_id: UuidText | None
    status: str
    start_time: Moment
    finish_time: Moment | None

    @classmethod
    def of(cls, session: Session) -> "SessionSummaryResultItemDto":
        """A session as the list shows it."""
        return cls(
            session_id=session.session_id,
            audience_id=session.audience_id,
            status=session.status,
            start_time=session.started_at,
            finish_time=session.finished_at,
        )


class SessionSummaryPaginationDto(_Answer):
    """Which part of the sessions this is."""

    limit: int
    offset: int
    total_count: int


class SessionSummaryResultsMetaDto(_Answer):
    """About the answer."""

    pagination: SessionSummaryPaginationDto


class SessionSummaryResultsResponseDto(_Answer):
    """A page of a test's sessions."""

    test_id: UuidText
    sessions: list[SessionSummaryResultItemDto]
    meta: SessionSummaryResultsMetaDto


class ClipLayoutDto(_Answer):
    """How a clip shows its streams."""

    main_stream: Stream
    pip_position: PipPosition
    pip_state: PipState


class ClipDto(_Answer):
    """One clip of the list."""

    uuid: UuidText
    name: str
    description: str | None
    time_start_ms: int
    time_end_ms: int
    video_uuid: UuidText
    has_audio: bool
    has_camera: bool
    layout: ClipLayoutDto | None

    @classmethod
    def of(cls, clip: Clip, video_uuid: str) -> "ClipDto":
        """A clip as the list shows it."""
        shown = clip.layout
        return cls(
            uuid=clip.clip_uuid,
            name=clip.name,
            description=clip.description,
            time_start_ms=clip.time_start_ms,
            time_end_ms=clip.time_end_ms,
            video_uuid=video_uuid,
            has_audio=clip.has_audio,
            has_camera=clip.has_camera,
            layout=shown
            and ClipLayoutDto(
                main_stream=shown.main_stream, pip_position=shown.pip_position, pip_state=shown.pip_state
            ),
        )


class ClipPointDto(_Answer):
    """A point, in pixels."""

    x: int
    y: int


class ClipVideoRegionDto(_Answer):
    """Where a stream is in the session's video, in pixels."""

    top_left_point: ClipPointDto
    width_px: int
    height_px: int


class ClipVideoRegionsDto(_Answer):
    """Where the streams are in the session's video; `camera` when there is one."""

    screen: ClipVideoRegionDto
    camera: ClipVideoRegionDto | None

    @classmethod
    def of(cls, session: Session) -> "ClipVideoRegionsDto":
        """The screen, and the camera's picture to its right."""
        screen = ClipVideoRegionDto(top_left_point=ClipPointDto(x=0, y=0), width_px=1920, height_px=1080)
        camera = ClipVideoRegionDto(top_left_point=ClipPointDto(x=1920, y=0), width_px=640, height_px=480)
        return cls(screen=screen, camera=camera if session.has_camera else None)


class ClipsResponseDto(_Answer):
    """A session's clips."""

    study_uuid: UuidText
    clips: list[ClipDto]
    video_regions: ClipVideoRegionsDto


class ClipDetailsResponseDto(_Answer):
    """How far a clip's generation is, and the link once it is done."""

    clip_uuid: UuidText
    status: ClipStatus
    clip_url: str | None
