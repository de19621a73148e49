"""The API's answers as frozen models, validated at the boundary.

Names and required fields follow the official OpenAPI document of the Results API v2; unknown fields are ignored, so
that the API may grow. An entry of a list that cannot be understood is set aside with its reason: it must not cost the
others. What an answer only repeats of the request (`testId`, `limit`, `offset`) is not needed, so it may be anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from ut_clips_dagster.results_api.decoding import clean_text, in_utc, moment, truth, whole_number

MAX_WORD = 200
"""Characters of a status or a name of a layout's part."""
MAX_NAME, MAX_DESCRIPTION = 10_000, 100_000
"""Characters of a researcher's text; what is longer is no name."""
MALFORMED = "UserTesting's list is malformed at "
"""How the reason of each malformed entry begins, in documents, rows and messages."""
_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    return _CANONICAL.fullmatch(text) is not None


Uuid = Annotated[str, BeforeValidator(parse_uuid)]
"""A UUID in its canonical form, lower case: safe as a path segment and a partition key."""

WholeNumber = Annotated[int, BeforeValidator(whole_number)]
"""The document says `number`; fractions of a millisecond are rounded."""

Truth = Annotated[bool, BeforeValidator(truth)]

UtcDatetime = Annotated[AwareDatetime, BeforeValidator(moment), AfterValidator(in_utc)]

Word = Annotated[str, Field(max_length=MAX_WORD), BeforeValidator(clean_text)]
Name = Annotated[str, Field(max_length=MAX_NAME), BeforeValidator(clean_text)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION), BeforeValidator(clean_text)]


def _or_none(parse: Callable[[object], object], value: object) -> object:
    try:
        return None if value is None else parse(value)
    except ValueError:
        return None


def _count(value: object) -> object:
    number = _or_none(whole_number, value)
    return number if isinstance(number, int) else None


class Answer(BaseModel):
    """Base of all answers: camelCase on the wire, frozen, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )


class Malformed(BaseModel):
    """An entry of a list that cannot be understood."""

    model_config = ConfigDict(frozen=True)

    uuid: str | None
    """Its UUID, where that can be read."""
    reason: str
    """What is wrong with which entry, in a sentence."""


class SessionSummary(Answer):
    """One completed session of a test."""

    session_id: Uuid
    status: Word
    start_time: UtcDatetime
    finish_time: UtcDatetime | None = None


class Pagination(Answer):
    """Where a page of the session list stands."""

    total_count: Annotated[int | None, BeforeValidator(_count)] = None
    """Sessions of the test; None where the answer does not tell."""


class SessionListMeta(Answer):
    """The session list's meta data."""

    pagination: Annotated[Pagination, BeforeValidator(lambda told: _or_empty(told, Pagination))] = Pagination()


class SessionPage(Answer):
    """One page of a test's sessions, newest first."""

    test_id: Annotated[str | None, BeforeValidator(lambda told: _or_none(parse_uuid, told))] = None
    """What the answer repeats of the request, where it can be read."""
    sessions: tuple[SessionSummary, ...]
    malformed: tuple[Malformed, ...] = ()
    repeats: int = 0
    """Entries that repeat another one."""
    meta: Annotated[SessionListMeta, BeforeValidator(lambda told: _or_empty(told, SessionListMeta))] = SessionListMeta()

    @model_validator(mode="before")
    @classmethod
    def _entry_by_entry(cls, answer: Any) -> Any:
        return _sifted(answer, "sessions", SessionSummary, "sessionId")

    @property
    def entries(self) -> int:
        """How many sessions it holds, those not understood included: so far away is the next page."""
        return len(self.sessions) + len(self.malformed) + self.repeats

    def is_last(self, offset: int) -> bool:
        """Whether nothing follows this page, which began at `offset`.

        A total that its own entries contradict says nothing: an empty page ends the list.
        """
        return not self.entries or self.meta.pagination.total_count == offset + self.entries


class ClipLayout(Answer):
    """How a clip shows screen and camera."""

    main_stream: Word
    pip_position: Word
    pip_state: Word


class Clip(Answer):
    """A clip as the session's list tells it; times in milliseconds from the session's start."""

    uuid: Uuid
    name: Name
    description: Description | None = None
    time_start_ms: Annotated[WholeNumber, Field(ge=0)]
    time_end_ms: WholeNumber
    video_uuid: Uuid
    has_audio: Truth
    has_camera: Truth
    layout: ClipLayout | None = None

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Clip:
        if self.time_end_ms < self.time_start_ms:
            raise ValueError("timeEndMs is before timeStartMs")
        return self


class ClipListing(Answer):
    """All clips of one session; the list is not paginated and may be empty."""

    study_uuid: Uuid
    clips: tuple[Clip, ...]
    malformed: tuple[Malformed, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _entry_by_entry(cls, answer: Any) -> Any:
        return _sifted(answer, "clips", Clip, "uuid")


def _upper(text: object) -> object:
    return text.strip().upper() if isinstance(text, str) else text


class ClipStatus(str, Enum):
    """State of a clip's generation."""

    GENERATING = "GENERATING"
    GENERATED = "GENERATED"
    ERROR = "ERROR"


class ClipDetails(Answer):
    """The answer to a request for a clip; `clip_url` is a signed link, so it never shows in a repr or a log."""

    clip_uuid: Uuid
    status: Annotated[ClipStatus, BeforeValidator(_upper)]
    clip_url: SecretStr | None = None


def now_utc() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(timezone.utc)


def reason_of(error: ValidationError) -> str:
    """The first thing that is wrong, without the value, unless it is null: that may be a secret."""
    detail = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    what = detail["msg"].removeprefix("Value error, ")[:200] + (", and is null" if detail["input"] is None else "")
    return f"{where}: {what}" if where else what


def _or_empty(told: object, model: type[Answer]) -> object:
    return told if isinstance(told, dict | model) else {}


def _sifted(answer: Any, name: str, model: type[Answer], id_name: str) -> Any:
    """The answer with those entries of a list that can be understood, and the others as `malformed`.

    Of several entries with one ID, none is understood unless they are alike.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get(name), list):
        return answer
    understood: dict[str, Answer] = {}
    malformed: dict[object, Malformed] = {}
    for number, entry in enumerate(answer[name], start=1):
        told = entry.get(id_name) if isinstance(entry, dict) else None
        uuid = _or_none(parse_uuid, told)
        key = uuid or number
        try:
            parsed = model.model_validate(entry)
        except ValidationError as error:
            reason = reason_of(error)
        else:
            if uuid not in malformed and understood.setdefault(str(uuid), parsed) == parsed:
                continue
            reason = "the list holds it twice, with different values"
        understood.pop(str(uuid), None)
        which = f"entry {number}" if uuid is None else f"the entry {uuid}"
        malformed[key] = Malformed(uuid=uuid, reason=f"{MALFORMED}{which}: {reason}.")
    repeats = len(answer[name]) - len(understood) - len(malformed)
    return {
        **answer,
        name: list(understood.values()),
        "malformed": list(malformed.values()),
        "repeats": repeats,
    }
