"""Keep signed links and tokens out of logs and messages."""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"(https?://[^\s?#\"'<>]+|/[^\s?#\"'<>]*)[?#][^\s\"'<>]+")
"""Whole URLs, and the bare paths that urllib3 logs."""
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+")


def redact(text: str) -> str:
    """The text with the query of every URL and every bearer token removed: a signed link is all in its query."""
    return _BEARER.sub(r"\1***", _QUERY.sub(r"\1?***", text))


HTTP_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.connection",
    "urllib3.response",
    "urllib3.util.retry",
)
"""A logger's filter does not see its children's records, so every one that logs requests is named."""


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


def redact_http_logs() -> None:
    """Make httpx, httpcore and urllib3 log no query and no token: httpx logs whole URLs at INFO."""
    for name in HTTP_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(f, _RedactingFilter) for f in logger.filters):
            logger.addFilter(_RedactingFilter())
    logging.getLogger("httpcore").setLevel(logging.INFO)  # at DEBUG it logs every request's headers
