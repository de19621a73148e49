"""The four operations of the Results API that lead to clips and to what is said in them."""

from typing import Annotated, NoReturn

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ut_clips_dagster.simulator.api.calls import Call, Operation
from ut_clips_dagster.simulator.api.schemas import (
    ClipDetailsResponseDto,
    ClipDto,
    ClipsResponseDto,
    ClipVideoRegionsDto,
    SessionSummaryPaginationDto,
    SessionSummaryResultItemDto,
    SessionSummaryResultsMetaDto,
    SessionSummaryResultsResponseDto,
)
from ut_clips_dagster.simulator.faults.names import FaultName
from ut_clips_dagster.simulator.parts import Simulator
from ut_clips_dagster.simulator.world.state import Clip, ClipStatus, Session

_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_FORMAT = {"format": "uuid"}
_bearer = HTTPBearer(auto_error=False, scheme_name="bearerAuth", bearerFormat="JWT")

SessionIdPath = Annotated[str, Path(alias="sessionId", pattern=_UUID, json_schema_extra=_FORMAT)]
ClipUuidPath = Annotated[str, Path(alias="clipUuid", pattern=_UUID, json_schema_extra=_FORMAT)]
TestIdQuery = Annotated[str, Query(alias="testId", pattern=_UUID, json_schema_extra=_FORMAT)]
LimitQuery = Annotated[int, Query(ge=1, le=500)]
OffsetQuery = Annotated[int, Query(ge=0, le=10_000)]


def api_router(simulator: Simulator) -> APIRouter:
    """The routes, over the parts of a simulator."""
    world = simulator.world

    async def authorized(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> None:
        if not simulator.tokens.check(request.headers.get("authorization")).is_valid:
            raise HTTPException(401, "Missing or invalid access token.")

    # Checked before the parameters are validated: FastAPI resolves a router's dependencies first, and raises there.
    router = APIRouter(prefix="/api/v2/sessionResults", dependencies=[Depends(authorized)])

    @router.get("", operation_id="SessionResultsController_getSessionSummaryResults", tags=["General Session Data"])
    async def list_sessions(
        test_id: TestIdQuery, limit: LimitQuery = 25, offset: OffsetQuery = 0
    ) -> SessionSummaryResultsResponseDto:
        """Completed sessions of a test, newest first."""
        if not world.has_test(test_id.lower()):
            raise HTTPException(404, "Test not found.")
        sessions = world.sessions(test_id.lower())
        pagination = SessionSummaryPaginationDto(limit=limit, offset=offset, total_count=len(sessions))
        return SessionSummaryResultsResponseDto(
            test_id=test_id.lower(),
            sessions=[SessionSummaryResultItemDto.of(session) for session in sessions[offset : offset + limit]],
            meta=SessionSummaryResultsMetaDto(pagination=pagination),
        )

    @router.get(
        "/{sessionId}/clips",  # noqa: FAST003  # the alias of session_id
        operation_id="SessionResultsController_getClips",
        tags=["Video Data"],
        response_model_exclude_none=True,
    )
    async def list_clips(session_id: SessionIdPath) -> ClipsResponseDto:
        """Clips that were cut from a session's video."""
        session = _session_with_video(simulator, session_id.lower())
        return ClipsResponseDto(
            study_uuid=session.test_id,
            clips=[ClipDto.of(clip, session.video_uuid) for clip in world.clips(session.session_id)],
            video_regions=ClipVideoRegionsDto.of(session),
        )

    @router.get(
        "/{sessionId}/clips/{clipUuid}",  # noqa: FAST003  # the aliases of session_id and clip_uuid
        operation_id="SessionResultsController_getClipDetails",
        tags=["Video Data"],
        response_model_exclude_none=True,
    )
    async def get_clip(request: Request, session_id: SessionIdPath, clip_uuid: ClipUuidPath) -> ClipDetailsResponseDto:
        """Starts a clip's generation, says how far it is, and gives a new link once it is done."""
        call = Call(Operation.GET_CLIP, session_id.lower(), clip_uuid.lower())
        _session_with_video(simulator, session_id.lower())
        try:
            clip = world.clip(session_id.lower(), clip_uuid.lower())
        except KeyError:
            _not_found("Clip not found.")
        status = _ask(simulator, call, clip)
        url = None
        if status is ClipStatus.GENERATED:
            expired = simulator.faults.take(call, frozenset({FaultName.EXPIRED_LINK})) is not None
            # The client reaches us by this address, so that it can reach the file by it too.
            url = simulator.links.sign(str(request.base_url), world.render(clip), expired=expired)
        return ClipDetailsResponseDto(clip_uuid=clip.clip_uuid, status=status, clip_url=url)

    _add_transcript(router, simulator)
    return router


class Transcript(Response):
    """An answer in WebVTT, as the official document has it."""

    media_type = "text/vtt"


def _add_transcript(router: APIRouter, simulator: Simulator) -> None:
    @router.get(
        "/{sessionId}/transcript",  # noqa: FAST003  # the alias of session_id
        operation_id="SessionResultsController_getTranscriptVtt",
        tags=["Video Data"],
        response_class=Transcript,
    )
    async def get_transcript(session_id: SessionIdPath) -> Response:
        """What is said in a session, as WebVTT."""
        try:
            body = simulator.world.transcript(session_id.lower())
        except KeyError:
            body = None
        if body is None:
            _not_found("Transcript not found.")
        return Transcript(body, headers={"Accept-Ranges": "bytes"})


def _ask(simulator: Simulator, call: Call, clip: Clip) -> ClipStatus:
    def fails() -> bool:
        return simulator.faults.take(call, frozenset({FaultName.CLIP_ERROR})) is not None

    status = simulator.generations.ask(clip, simulator.clock.elapsed_s(), fails)
    if status is not ClipStatus.GENERATING and simulator.faults.take(call, frozenset({FaultName.NEVER_READY})):
        return ClipStatus.GENERATING
    return status


def _session_with_video(simulator: Simulator, session_id: str) -> Session:
    try:
        session = simulator.world.session(session_id)
    except KeyError:
        _not_found("Session video or clips not found.")
    if not session.has_video:
        _not_found("Session video or clips not found.")
    return session


def _not_found(message: str) -> NoReturn:
    raise HTTPException(404, message)
