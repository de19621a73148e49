"""Keep signed links and tokens out of logs and messages."""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"(https?://[^\s?#\"'<>]+)[?#][^\s\"'<>]+")
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]+")


def redact(text: str) -> str:
    """The text with the query of every URL and every bearer token removed: a signed link is all in its query."""
    return _BEARER.sub(r"\1***", _QUERY.sub(r"\1?***", text))


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


def redact_http_logs() -> None:
    """Make httpx and urllib3 log no query, and httpcore no header: httpx logs whole URLs at INFO."""
    for name in ("httpx", "urllib3.connectionpool", "urllib3.util.retry"):
        logger = logging.getLogger(name)
        if not any(isinstance(f, _RedactingFilter) for f in logger.filters):
            logger.addFilter(_RedactingFilter())
    logging.getLogger("httpcore").setLevel(logging.INFO)  # at DEBUG it logs every request's headers
