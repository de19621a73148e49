"""The API's answers as frozen models, validated at the boundary.

Names and required fields follow the official OpenAPI document of the Results API v2; unknown fields are ignored, so
that the API may grow.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel


def parse_uuid(value: object) -> str:
    """The canonical form of a UUID, lower case with hyphens.

    Raises:
        ValueError: it is none; the message shows it, shortened.
    """
    try:
        return str(UUID(str(value).strip()))
    except ValueError:
        raise ValueError(f"{str(value)[:60]!r} is not a UUID") from None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in canonical form, lower case."""
    try:
        return parse_uuid(text) == text
    except ValueError:
        return False


def _whole(value: object) -> object:
    return round(value) if isinstance(value, float) else value


Uuid = Annotated[str, BeforeValidator(parse_uuid)]
"""A UUID in its canonical form, lower case: safe as a path segment and a partition key."""

WholeNumber = Annotated[int, BeforeValidator(_whole)]
"""The document says `number`; fractions of a millisecond are rounded."""

UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(timezone.utc))]


class Answer(BaseModel):
    """Base of all answers: camelCase on the wire, frozen, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )


class SessionSummary(Answer):
    """One completed session of a test."""

    session_id: Uuid
    status: str
    start_time: UtcDatetime
    finish_time: UtcDatetime | None = None


class Pagination(Answer):
    """Where a page of the session list stands."""

    limit: WholeNumber
    offset: WholeNumber
    total_count: Annotated[WholeNumber, Field(ge=0)]


class SessionListMeta(Answer):
    """The session list's meta data."""

    pagination: Pagination


class SessionPage(Answer):
    """One page of a test's sessions, newest first."""

    test_id: Uuid
    sessions: tuple[SessionSummary, ...]
    meta: SessionListMeta


class ClipLayout(Answer):
    """How a clip shows screen and camera."""

    main_stream: str
    pip_position: str
    pip_state: str


class Clip(Answer):
    """A clip as the session's list tells it; times in milliseconds from the session's start."""

    uuid: Uuid
    name: str
    description: str | None = None
    time_start_ms: WholeNumber
    time_end_ms: WholeNumber
    video_uuid: Uuid
    has_audio: bool
    has_camera: bool
    layout: ClipLayout | None = None


class ClipListing(Answer):
    """All clips of one session; the list is not paginated and may be empty."""

    study_uuid: Uuid
    clips: tuple[Clip, ...]


class ClipStatus(str, Enum):
    """State of a clip's generation."""

    GENERATING = "GENERATING"
    GENERATED = "GENERATED"
    ERROR = "ERROR"


class ClipDetails(Answer):
    """The answer to a request for a clip; `clip_url` is a signed link, so it never shows in a repr or a log."""

    clip_uuid: Uuid
    status: ClipStatus
    clip_url: SecretStr | None = None


def now_utc() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(timezone.utc)
