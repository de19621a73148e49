"""The client of the four operations the archive needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import httpx
import tenacity
from pydantic import ValidationError

from ut_clips_dagster.errors import (
    ApiUnavailableError,
    AuthenticationError,
    BadRequestError,
    ForbiddenError,
    InvalidAnswerError,
    NotFoundError,
    ResultsApiError,
)
from ut_clips_dagster.redaction import redact_http_logs
from ut_clips_dagster.results_api.auth import BearerAuth, TokenSource
from ut_clips_dagster.results_api.decoding import decode_json
from ut_clips_dagster.results_api.models import Answer, ClipDetails, ClipListing, SessionPage, reason_of
from ut_clips_dagster.results_api.pacing import OPERATION, Operation, PacedTransport, Pacer
from ut_clips_dagster.results_api.proxies import transport_to
from ut_clips_dagster.results_api.transcripts import read_bounded, webvtt_of

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
QUICK_TIMEOUT = httpx.Timeout(10.0)
QUICK_GIVE_UP_AFTER_S = 15.0
"""No attempt begins after that: token, request and both again after a 401 then end within a sensor's 60 s."""
MAX_RETRIES = 4
TRANSCRIPT_WITHIN_S = 120.0
"""A transcript's body that takes longer is given up: each of its pieces may come in time, and never the last."""
SESSION_LIST_LIMIT = 500
"""Largest `limit` of the session list (OpenAPI document)."""
SESSION_LIST_MAX_OFFSET = 10_000
"""Largest `offset` of the session list (OpenAPI document)."""
SERVER_ERROR = 500

AnswerT = TypeVar("AnswerT", bound=Answer)


def retrying(sleep: Callable[[float], None], give_up_after_s: float | None = None) -> tenacity.Retrying:
    """At most four retries with jittered exponential back-off, of what may pass: 5xx, transport, unreadable answers."""
    stop: tenacity.stop.stop_base = tenacity.stop_after_attempt(1 + MAX_RETRIES)
    if give_up_after_s is not None:
        stop |= tenacity.stop_before_delay(give_up_after_s)
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((ApiUnavailableError, InvalidAnswerError)),
        stop=stop,
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=8),
        sleep=sleep,
        reraise=True,
    )


class ResultsApi:
    """Lists sessions, lists clips, requests clips, fetches transcripts; hands out frozen models or bytes.

    Every method raises a `ResultsApiError` subclass; no method retries what cannot pass (4xx).
    """

    def __init__(  # noqa: PLR0913 - one seam per thing a test replaces
        self,
        api_url: str,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        pacer: Pacer | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        timeout: httpx.Timeout = TIMEOUT,
        give_up_after_s: float | None = None,
    ) -> None:
        redact_http_logs()
        self.pacer = pacer or Pacer()
        self._api_url = api_url
        self._retrying = retrying(sleep, give_up_after_s)
        self._tokens = TokenSource(token_url, client_id, client_secret, timeout, self.pacer.clock)
        self._http = httpx.Client(
            base_url=f"{api_url}/api/v2/",
            auth=BearerAuth(self._tokens),
            transport=PacedTransport(transport or transport_to(api_url), self.pacer),
            timeout=timeout,
            follow_redirects=False,  # the token goes to the API's host only
        )

    def authenticate(self) -> None:
        """Get a token, unless there is a valid one; costs nothing of the request budget.

        Raises:
            AuthenticationError: the client is refused.
            ApiUnavailableError: the token endpoint cannot be reached, or failed.
        """
        self._tokens.token()

    def list_sessions(self, test_id: str, offset: int = 0, limit: int = SESSION_LIST_LIMIT) -> SessionPage:
        """One page of a test's completed sessions, newest first.

        Raises:
            NotFoundError: the test does not exist or is of a kind the API does not serve.
        """
        what = f"the sessions of test {test_id}"
        params: dict[str, str | int] = {"testId": test_id, "limit": limit, "offset": offset}
        try:
            page = self._get(Operation.LIST_SESSIONS, "sessionResults", SessionPage, what, params)
        except NotFoundError as error:
            raise NotFoundError(f"{error} Correct this test ID in USERTESTING_TEST_IDS, or remove it there.") from None
        if page.test_id not in (None, test_id):
            raise InvalidAnswerError(f"The Results API answered for test {page.test_id} when asked for {what}.")
        return page

    def list_clips(self, session_id: str) -> ClipListing:
        """All clips of a session.

        Raises:
            NotFoundError: the session is unknown, deleted, or of a product without video.
        """
        what = f"the clips of session {session_id}"
        return self._get(Operation.LIST_CLIPS, f"sessionResults/{session_id}/clips", ClipListing, what)

    def request_clip(self, session_id: str, clip_uuid: str) -> ClipDetails:
        """Ask for a clip: this *is* the request for its generation, and for a new link once it is generated."""
        what = f"clip {clip_uuid} of session {session_id}"
        path = f"sessionResults/{session_id}/clips/{clip_uuid}"
        return self._get(Operation.REQUEST_CLIP, path, ClipDetails, what)

    def get_transcript(self, session_id: str) -> bytes:
        """What is said in a session, as WebVTT; empty when the answer is.

        Raises:
            NotFoundError: there is none: not yet, or the session is unknown or of a product without transcripts.
            TranscriptTooLargeError: it is larger than is read.
        """
        body: bytes = self._retrying(self._attempt_transcript, session_id)
        return body

    def transcript_url(self, session_id: str) -> str:
        """Where a session's transcript is asked for."""
        return f"{self._api_url}/api/v2/{_transcript_path(session_id)}"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._tokens.close()

    def _get(
        self,
        operation: Operation,
        path: str,
        model: type[AnswerT],
        what: str,
        params: Mapping[str, str | int] | None = None,
    ) -> AnswerT:
        answer: AnswerT = self._retrying(self._attempt, operation, path, model, what, params)
        return answer

    def _attempt(
        self,
        operation: Operation,
        path: str,
        model: type[AnswerT],
        what: str,
        params: Mapping[str, str | int] | None,
    ) -> AnswerT:
        try:
            response = self._http.get(path, params=params, extensions={OPERATION: operation})
        except httpx.TransportError as error:
            raise self._unreachable(what, type(error).__name__) from None  # the cause may hold the request's headers
        except httpx.DecodingError:
            raise InvalidAnswerError(f"The Results API's answer for {what} cannot be decoded.") from None
        if response.status_code != httpx.codes.OK:
            raise _refusal(response.status_code, what)
        try:
            return model.model_validate(decode_json(response.content))
        except ValueError as error:  # pydantic's ValidationError is one
            reason = reason_of(error) if isinstance(error, ValidationError) else f"the body is no JSON: {error}"
            raise InvalidAnswerError(
                f"The Results API's answer for {what} is not what its document says: {reason[:300]}."
            ) from None

    def _attempt_transcript(self, session_id: str) -> bytes:
        what, path = f"the transcript of session {session_id}", _transcript_path(session_id)
        try:
            with self._http.stream("GET", path, extensions={OPERATION: Operation.GET_TRANSCRIPT}) as response:
                if response.status_code != httpx.codes.OK:
                    raise _refusal(response.status_code, what)
                deadline = self.pacer.clock() + TRANSCRIPT_WITHIN_S
                body = read_bounded(self._in_time(response, deadline, what), what)
        except httpx.TransportError as error:
            raise self._unreachable(what, type(error).__name__) from None  # the cause may hold the request's headers
        except httpx.DecodingError:
            raise InvalidAnswerError(f"The Results API's answer for {what} cannot be decoded.") from None
        return webvtt_of(body, what)

    def _in_time(self, response: httpx.Response, deadline: float, what: str) -> Iterator[bytes]:
        for chunk in response.iter_bytes():
            if self.pacer.clock() > deadline:
                raise self._unreachable(what, "its body does not end")
            yield chunk

    def _unreachable(self, what: str, reason: str) -> ApiUnavailableError:
        return ApiUnavailableError(
            f"The Results API ({self._api_url}) cannot be reached for {what}: {reason}. "
            "It is tried again by the sensors; check the network and USERTESTING_API_URL if it stays."
        )


def _transcript_path(session_id: str) -> str:
    return f"sessionResults/{session_id}/transcript"


def _refusal(status: int, what: str) -> ResultsApiError:
    if status >= SERVER_ERROR:
        return ApiUnavailableError(f"The Results API answered {status} for {what}. It is tried again by the sensors.")
    errors: dict[int, tuple[type[ResultsApiError], str]] = {
        400: (BadRequestError, "It does not accept the request; check that the ID is a UUID of a v2 study"),
        401: (AuthenticationError, "The token was refused twice; check USERTESTING_CLIENT_ID and _SECRET"),
        403: (ForbiddenError, "The credentials may not read it; ask for access to its workspace"),
        404: (NotFoundError, "It is unknown, deleted, or of a product without video clips"),
    }
    kind, advice = errors.get(status, (InvalidAnswerError, "The API's document names no such status"))
    return kind(f"The Results API answered {status} for {what}. {advice}.")
