"""Error answers in the words of either API."""

from __future__ import annotations

from xml.sax.saxutils import escape

from starlette.responses import JSONResponse, Response

_REASONS = {403: "forbidden", 404: "notFound", 412: "conditionNotMet", 429: "rateLimitExceeded", 503: "backendError"}
_CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "SlowDown",
    503: "ServiceUnavailable",
}


def json_error(status: int, reason: str, message: str) -> Response:
    error = {"domain": "global", "reason": reason, "message": message}
    return JSONResponse({"error": {"code": status, "message": message, "errors": [error]}}, status)


def xml_error(status: int, code: str, message: str) -> Response:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    )
    return Response(body, status, media_type="application/xml; charset=UTF-8")


def error(api: str, status: int, message: str) -> Response:
    if api == "json":
        return json_error(status, _REASONS.get(status, "badRequest"), message)
    return xml_error(status, _CODES.get(status, "InvalidArgument"), message)
