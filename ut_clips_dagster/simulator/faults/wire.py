"""Answers on their way to the client, and what befalls them there.

Everything here speaks ASGI: a `Send` that is given the application's messages passes on others.
"""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from ut_clips_dagster.simulator.faults.protocol import Connection

_ENDLESS_BLOCK = b"\xaa" * 65536
_SLOW_PIECES = 16


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = field(default=())

    async def send(self, send: Send) -> None:
        """Send it, with the Content-Length that it has."""
        fields = (("content-type", self.content_type), ("content-length", str(len(self.body))), *self.headers)
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def xml_error(status: int, code: str, message: str, details: str = "") -> Reply:
    """An error as S3 words it; `details` is further XML."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        f"{details}<RequestId>SIMULATOR</RequestId></Error>"
    )
    return Reply(status, body.encode(), "application/xml")


def phrase(status: int) -> str:
    """The usual words for a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class CutShort:
    """Passes on half of the body, then closes the connection, or resets it."""

    def __init__(self, send: Send, connection: Connection, *, chunked: bool = False, reset: bool = False) -> None:
        self._send = send
        self._connection = connection
        self._chunked = chunked
        self._reset = reset
        self._left = 0
        self._is_cut = False

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            self._left = int(headers.get("content-length", "0")) // 2
            if self._chunked:
                del headers["content-length"]
            await self._send(message)
        elif not self._is_cut:
            piece = message.get("body", b"")[: self._left]
            self._left -= len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            if self._left == 0 or not message.get("more_body", False):
                self._is_cut = True
                if self._reset:
                    self._connection.reset()
                else:
                    self._connection.close()


class Chunked:
    """Passes on the body without its Content-Length, so that the server sends it chunked; `endless` never ends it."""

    def __init__(self, send: Send, connection: Connection, *, endless: bool = False) -> None:
        self._send = send
        self._connection = connection
        self._endless = endless

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            del MutableHeaders(raw=message["headers"])["content-length"]
        if message["type"] == "http.response.start" or not self._endless or message.get("more_body", False):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        while not self._connection.is_closing:
            await self._send({"type": "http.response.body", "body": _ENDLESS_BLOCK, "more_body": True})
            await asyncio.sleep(0)  # a fast client never makes send() wait, and others have to have their turn


class Slow:
    """Passes on the body in 16 pieces, `delay_s` real seconds apart."""

    def __init__(self, send: Send, connection: Connection, delay_s: float) -> None:
        self._send = send
        self._connection = connection
        self._delay_s = delay_s
        self._piece = 1

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            length = int(MutableHeaders(raw=message["headers"]).get("content-length", "0"))
            self._piece = max(1, -(-length // _SLOW_PIECES))
            await self._send(message)
            return
        body = message.get("body", b"")
        for start in range(0, len(body), self._piece):
            if self._connection.is_closing:
                return
            await self._send(
                {"type": "http.response.body", "body": body[start : start + self._piece], "more_body": True}
            )
            await asyncio.sleep(self._delay_s)
        if not message.get("more_body", False):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class Headed:
    """Passes on the answer with a header set to something else."""

    def __init__(self, send: Send, name: str, value: str) -> None:
        self._send = send
        self._name = name
        self._value = value

    async def __call__(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"])[self._name] = self._value
        await self._send(message)
