"""JSON errors and the headers of the API's answers, as the official document has them."""

import json

from ut_clips_dagster.simulator.api.ratelimit import Admission
from ut_clips_dagster.simulator.faults.wire import Reply, phrase

API_HEADERS: tuple[tuple[str, str], ...] = (
    ("Cache-Control", "private, no-store"),
    ("Pragma", "no-cache"),
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
)
"""What every answer of the API carries; the rate limit's headers come on top."""


def rate_headers(admission: Admission) -> tuple[tuple[str, str], ...]:
    """What an answer says of the rate limit."""
    return (
        ("x-ratelimit-limit", str(admission.limit)),
        ("x-ratelimit-remaining", str(admission.remaining)),
        ("x-ratelimit-reset", str(admission.reset_s)),
    )


def error_body(status: int, message: str | list[str]) -> bytes:
    """An error's body, in the form of NestJS; the official document names the statuses only."""
    return json.dumps({"statusCode": status, "message": message, "error": phrase(status)}).encode()


def error_reply(status: int, message: str | list[str], headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A whole JSON error."""
    return Reply(status, error_body(status, message), headers=headers)
