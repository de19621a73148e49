"""OAuth2 client credentials for the Results API."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import parse_qsl

import httpx
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error

from ut_clips_dagster.errors import ApiUnavailableError, AuthenticationError
from ut_clips_dagster.results_api.decoding import decode_json
from ut_clips_dagster.results_api.proxies import transport_to

SCOPE = "studies:read"
REFRESH_BEFORE_EXPIRY_S = 60
DEFAULT_LIFE_S = 3600.0
SHORTEST_LIFE_S, LONGEST_LIFE_S = 1, 30 * 24 * 3600
UNAUTHORIZED = 401
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


class TokenSource:
    """Fetches and keeps one access token; safe to share between threads.

    The token endpoint takes a form post with grant_type, client_id, client_secret and scope; tokens live 3,600 s
    (UserTesting's authorization page). A token is renewed a minute before it expires. One call asks once: who needs the
    token repeats its whole attempt, so that retries do not multiply.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        timeout: httpx.Timeout,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token_url = token_url
        self._oauth = BackendApplicationClient(client_id)
        self._form = dict(
            parse_qsl(
                self._oauth.prepare_request_body(scope=SCOPE, include_client_id=True, client_secret=client_secret)
            )
        )
        self._http = httpx.Client(transport=transport_to(token_url), timeout=timeout, follow_redirects=False)
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._refresh_at = 0.0

    def token(self, refused: str | None = None) -> str:
        """A token that is valid now.

        Args:
            refused: a token the API just answered 401 to; it is replaced, unless another thread did so already.

        Raises:
            AuthenticationError: the endpoint refused the client, or answered without a token.
            ApiUnavailableError: the endpoint could not be reached, or failed.
        """
        with self._lock:
            if not self._token or self._clock() >= self._refresh_at or self._token == refused:
                self._fetch()
            return self._token

    def close(self) -> None:
        """Close the connection to the token endpoint."""
        self._http.close()

    def _fetch(self) -> None:
        asked_at = self._clock()
        try:
            response = self._http.post(self._token_url, data=self._form, headers={"Accept": "application/json"})
        except httpx.HTTPError as error:
            raise ApiUnavailableError(
                f"The token endpoint {self._token_url} cannot be reached ({type(error).__name__}). "
                "Check the network and USERTESTING_TOKEN_URL."
            ) from None  # the cause holds the request and its secret
        if response.status_code >= SERVER_ERROR or response.status_code == TOO_MANY_REQUESTS:
            raise ApiUnavailableError(f"The token endpoint {self._token_url} answered {response.status_code}.")
        if response.status_code != httpx.codes.OK:
            raise self._refusal(f"status {response.status_code}")
        try:
            answer = _answer_of(response.content)
            lives_s = _life_s(answer.pop("expires_in", None))
            access_token = self._oauth.parse_request_body_response(json.dumps(answer))["access_token"]
        except (OAuth2Error, ValueError, KeyError, TypeError, AttributeError):
            raise self._refusal("its answer is no token") from None
        if not isinstance(access_token, str) or not _HEADER_SAFE.fullmatch(access_token):
            raise self._refusal("its answer is no token")
        self._token = access_token
        self._refresh_at = asked_at + max(lives_s - REFRESH_BEFORE_EXPIRY_S, lives_s / 2)

    def _refusal(self, reason: str) -> AuthenticationError:
        return AuthenticationError(
            f"The token endpoint {self._token_url} gave no token ({reason}). "
            "Check USERTESTING_CLIENT_ID, USERTESTING_CLIENT_SECRET and USERTESTING_TOKEN_URL."
        )


def _answer_of(body: bytes) -> dict[str, Any]:
    """The fields of the endpoint's JSON; an old form of OAuth2 sends them as a form."""
    try:
        answer = decode_json(body)
    except ValueError:
        return dict(parse_qsl(body.decode("utf-8", "replace")))
    if not isinstance(answer, dict):
        raise ValueError("no object")  # noqa: TRY004 - as any other answer that is no token
    return {name: answer[name] for name in ("access_token", "token_type", "expires_in", "error") if name in answer}


def _life_s(told: object) -> float:
    """How long a token lives; a number that is absurd is as good as not told: what is refused is renewed anyway.

    Raises:
        ValueError, TypeError: it is no number.
    """
    if told is None:
        return DEFAULT_LIFE_S
    try:
        lives_s = float(told)  # type: ignore[arg-type]
    except OverflowError:
        return DEFAULT_LIFE_S
    return lives_s if SHORTEST_LIFE_S <= lives_s <= LONGEST_LIFE_S else DEFAULT_LIFE_S


class BearerAuth(httpx.Auth):
    """Sends the token with each request; on a 401 it renews the token and repeats the request once."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth.auth_flow`."""
        token = self._tokens.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self._tokens.token(refused=token)}"
            yield request
