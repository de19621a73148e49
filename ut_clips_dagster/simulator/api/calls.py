"""What a request asks of the simulator, told from its path alone.

Faults, the rate limit and the request log need this before any route runs, and also when none does.
"""

import re
from enum import Enum
from typing import NamedTuple


class Operation(str, Enum):
    """The operations that a client of the Results API uses."""

    TOKEN = "token"  # noqa: S105  # the name of an operation, no secret
    LIST_SESSIONS = "list_sessions"
    LIST_CLIPS = "list_clips"
    GET_CLIP = "get_clip"
    GET_TRANSCRIPT = "get_transcript"
    MEDIA = "media"


API_OPERATIONS = frozenset(
    {Operation.LIST_SESSIONS, Operation.LIST_CLIPS, Operation.GET_CLIP, Operation.GET_TRANSCRIPT}
)
"""What the rate limit counts; tokens come from another host and media from S3."""


class Call(NamedTuple):
    """One request: its operation and what it is about; lower-case IDs, as far as the path names them."""

    operation: Operation
    session_id: str | None = None
    clip_uuid: str | None = None


_PATHS: tuple[tuple[Operation, str, re.Pattern[str]], ...] = (
    (Operation.TOKEN, "POST", re.compile(r"/oauth2/token")),
    (Operation.LIST_SESSIONS, "GET", re.compile(r"/api/v2/sessionResults")),
    (Operation.LIST_CLIPS, "GET", re.compile(r"/api/v2/sessionResults/(?P<session>[^/]+)/clips")),
    (Operation.GET_CLIP, "GET", re.compile(r"/api/v2/sessionResults/(?P<session>[^/]+)/clips/(?P<clip>[^/]+)")),
    (Operation.GET_TRANSCRIPT, "GET", re.compile(r"/api/v2/sessionResults/(?P<session>[^/]+)/transcript")),
    (Operation.MEDIA, "GET", re.compile(r"/media/(?:moved/)?(?P<session>[^/]+)/(?P<clip>[^/]+)/[^/]+\.mp4")),
)


def classify(method: str, path: str) -> Call | None:
    """The call that a request makes, or None for any other path or method."""
    for operation, expected, pattern in _PATHS:
        match = pattern.fullmatch(path) if method == expected else None
        if match:
            ids = {name: value.lower() for name, value in match.groupdict().items()}
            return Call(operation, ids.get("session"), ids.get("clip"))
    return None
