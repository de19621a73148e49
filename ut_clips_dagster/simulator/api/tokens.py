"""Access tokens: JWTs signed with HMAC (RFC 7515, HS256), which the simulator need not remember."""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from ut_clips_dagster.simulator.world.clock import SimulatedClock

SCOPE = "studies:read"
ANONYMOUS = "anonymous"
"""Whom requests without a token of ours are counted for."""


class _Claims(BaseModel):
    sub: str
    scp: list[str]
    iat: float
    exp: float
    jti: str


@dataclass(frozen=True)
class Bearer:
    """Who a request comes from, and whether its token is valid now."""

    client_id: str
    is_valid: bool


class Tokens:
    """Issues and checks access tokens that live `ttl_s` simulated seconds."""

    def __init__(self, clock: SimulatedClock, ttl_s: float) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._key = secrets.token_bytes(32)

    @property
    def expires_in(self) -> int:
        """A new token's lifetime in whole real seconds, as the token answer says it."""
        return self._clock.wire_seconds_down(self._ttl_s)

    def issue(self, client_id: str) -> str:
        """A new token for a client."""
        now = self._clock.wire_now().timestamp()
        expires = now + self._ttl_s / self._clock.time_scale
        claims = _Claims(sub=client_id, scp=[SCOPE], iat=now, exp=expires, jti=secrets.token_hex(8))
        head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        signed = f"{head}.{_encode(claims.model_dump_json().encode())}"
        return f"{signed}.{self._sign(signed)}"

    def check(self, authorization: str | None) -> Bearer:
        """Who an Authorization header stands for; an expired token still tells its client, but is not valid."""
        scheme, _, token = (authorization or "").partition(" ")
        signed, _, signature = token.strip().rpartition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(signature.encode(), self._sign(signed).encode()):
            return Bearer(ANONYMOUS, is_valid=False)
        payload = signed.partition(".")[2]
        try:
            claims = _Claims.model_validate_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (ValidationError, ValueError):  # pragma: no cover  # signed by us, so it can be read
            return Bearer(ANONYMOUS, is_valid=False)
        return Bearer(claims.sub, is_valid=self._clock.wire_now().timestamp() < claims.exp)

    def _sign(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
