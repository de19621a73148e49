"""Signed links to clips' files, in the manner of S3's presigned URLs."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from urllib.parse import urlencode

from ut_clips_dagster.simulator.world.clock import SimulatedClock
from ut_clips_dagster.simulator.world.state import Render

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_LONGEST_S = 604_800
"""S3 lets a link live a week at most."""


class LinkState(Enum):
    """What a link is worth now."""

    VALID = "valid"
    EXPIRED = "expired"
    FORGED = "forged"


class Links:
    """Signs links that live `ttl_s` simulated seconds, and checks them."""

    def __init__(self, clock: SimulatedClock, ttl_s: float) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._key = secrets.token_bytes(32)

    def sign(self, base_url: str, render: Render, *, expired: bool = False) -> str:
        """A new link to a file.

        Args:
            base_url: of the simulator, as the client knows it.
            render: the file.
            expired: date the link back so far that it has expired already.
        """
        expires_s = self._clock.wire_seconds_down(self._ttl_s)
        date = self._clock.wire_now()
        if expired:
            date -= timedelta(seconds=expires_s + 60)
        path = f"/media/{render.session_id}/{render.clip_uuid}/{render.cut}.mp4"
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"SIMULATOR/{date:%Y%m%d}/local/s3/aws4_request",
            "X-Amz-Date": date.strftime(_DATE_FORMAT),
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": self._signature(path, date.strftime(_DATE_FORMAT), str(expires_s)),
        }
        return f"{base_url.rstrip('/')}{path}?{urlencode(query)}"

    def check(self, path: str, query: Mapping[str, str]) -> LinkState:
        """What a link is worth: its path and its query parameters."""
        date, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        expected = self._signature(path, date, expires)
        if not hmac.compare_digest(query.get("X-Amz-Signature", "").encode(), expected.encode()):
            return LinkState.FORGED
        return LinkState.VALID if self._clock.wire_now() < expires_at(date, expires) else LinkState.EXPIRED

    def _signature(self, path: str, date: str, expires: str) -> str:
        return hmac.new(self._key, f"{path}\n{date}\n{expires}".encode(), hashlib.sha256).hexdigest()


def expires_at(date: str, expires: str) -> datetime:
    """When a link of this X-Amz-Date and X-Amz-Expires expires; the dates have whole seconds, as S3's have."""
    issued = datetime.strptime(date, _DATE_FORMAT).replace(tzinfo=timezone.utc)
    return issued + timedelta(seconds=min(int(expires), _LONGEST_S))
