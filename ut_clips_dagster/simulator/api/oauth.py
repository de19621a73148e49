"""The OAuth2 token endpoint: client credentials (RFC 6749, 4.4), with errors as in its section 5.2."""

import base64
import binascii
import hmac
from typing import Annotated
from urllib.parse import unquote_plus

from fastapi import APIRouter, Form, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ut_clips_dagster.simulator.api.tokens import SCOPE
from ut_clips_dagster.simulator.parts import Simulator


class TokenAnswer(BaseModel):
    """An access token; `expires_in` in seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105  # a type, no secret
    expires_in: int
    scope: str = SCOPE


def oauth_router(simulator: Simulator) -> APIRouter:
    """The token endpoint, over the parts of a simulator."""
    config = simulator.config
    router = APIRouter()

    @router.post("/oauth2/token", response_model=TokenAnswer, tags=["Authorization"])
    async def token(
        grant_type: Annotated[str, Form()] = "",
        scope: Annotated[str, Form()] = "",
        client_id: Annotated[str, Form()] = "",
        client_secret: Annotated[str, Form()] = "",
        authorization: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> Response:
        """A new access token for the client whose credentials stand in the form, or in HTTP basic authorization."""
        given_id, given_secret = _basic(authorization) or (client_id, client_secret)
        known_id = hmac.compare_digest(given_id.encode(), config.client_id.encode())
        known_secret = hmac.compare_digest(given_secret.encode(), config.client_secret.get_secret_value().encode())
        if not grant_type:
            return _error(400, "invalid_request", "grant_type is missing")
        if not (known_id and known_secret):
            return _error(401, "invalid_client")
        if grant_type != "client_credentials":
            return _error(400, "unsupported_grant_type")
        if set(scope.split()) - {SCOPE}:
            return _error(400, "invalid_scope", f"the scope is {SCOPE}")
        answer = TokenAnswer(access_token=simulator.tokens.issue(given_id), expires_in=simulator.tokens.expires_in)
        return JSONResponse(answer.model_dump(), headers=_NO_STORE)

    return router


_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def _basic(authorization: str) -> tuple[str, str] | None:
    """Client ID and secret of an Authorization header; both are form-encoded within it (RFC 6749, 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _error(status: int, error: str, description: str | None = None) -> JSONResponse:
    body = {"error": error} | ({"error_description": description} if description else {})
    basic = {"WWW-Authenticate": 'Basic realm="simulator"'} if error == "invalid_client" else {}
    return JSONResponse(body, status, headers={**_NO_STORE, **basic})
