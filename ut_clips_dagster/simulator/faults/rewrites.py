"""Answers that say something else than the application meant."""

import json
import re
from collections.abc import Callable
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from ut_clips_dagster.simulator.faults.names import FaultName

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None
Rewrite = Callable[[bytes], bytes]
_PLACE = "the value in whose place another is put"


class Rewritten:
    """Passes on the answer with another body, and the Content-Length of that."""

    def __init__(self, send: Send, rewrite: Rewrite) -> None:
        self._send = send
        self._rewrite = rewrite
        self._start: Message = {}
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            body = self._rewrite(bytes(self._body))
            MutableHeaders(raw=self._start["headers"])["content-length"] = str(len(body))
            await self._send(self._start)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _malformed(body: bytes) -> bytes:
    return body.replace(b":", b"", 1) if b":" in body else b"{,"


def _truncated(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _unknown_fields(body: bytes) -> bytes:
    return json.dumps(_with_unknown(json.loads(body))).encode()


def _with_unknown(value: Json) -> Json:
    if isinstance(value, dict):
        known = {name: _with_unknown(each) for name, each in value.items()}
        return {**known, "addedInV9": {"nested": [1, None, "text"]}, "etag": None}
    if isinstance(value, list):
        return [_with_unknown(each) for each in value]
    return value


def _unknown_status(body: bytes) -> bytes:
    answer: Json = json.loads(body)
    if not isinstance(answer, dict) or "status" not in answer:
        return body
    answer.pop("clipUrl", None)
    return json.dumps({**answer, "status": "QUEUED"}).encode()


def replacing(at: str, value: str | None) -> Rewrite:
    """A rewrite that puts other JSON in the place of one value, or takes it out; a place that is not there stays so."""
    *path, last = [int(part) if part.isdecimal() else part for part in at.split(".")]

    def rewrite(body: bytes) -> bytes:
        answer: Any = json.loads(body)
        holder = answer
        try:
            for part in path:
                holder = holder[part]
            if value is None:
                del holder[last]
            else:
                holder[last] = _PLACE
        except (KeyError, IndexError, TypeError):
            return body
        return json.dumps(answer).replace(json.dumps(_PLACE), value or "").encode()

    return rewrite


def _commas(body: bytes) -> bytes:
    return re.sub(rb"(\d\d:\d\d)\.(\d{3})", rb"\1,\2", body)


def _json_string(body: bytes) -> bytes:
    return json.dumps(body.decode()).encode()


REWRITES: dict[FaultName, Rewrite] = {
    FaultName.MALFORMED_JSON: _malformed,
    FaultName.TRUNCATED_JSON: _truncated,
    FaultName.UNKNOWN_FIELDS: _unknown_fields,
    FaultName.UNKNOWN_STATUS: _unknown_status,
    FaultName.COMMA_TIMESTAMPS: _commas,
    FaultName.JSON_STRING: _json_string,
}
