"""Hold on the connection beneath a request, for faults that HTTP itself has no words for."""

import socket
import struct
from asyncio import Transport

from starlette.types import Message, Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "ut_clips.connection"


class Connection:
    """The client's connection, as a request's scope carries it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    def of(cls, scope: Scope) -> "Connection":
        """The connection that a request came by."""
        connection = scope.get("extensions", {}).get(_EXTENSION)
        if not isinstance(connection, cls):
            raise RuntimeError("faults of the connection need the simulator's own server (SimulatorServer, serve)")  # noqa: TRY004
        return connection

    @property
    def is_closing(self) -> bool:
        """Whether either side has closed it."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what is buffered, then close: the client sees an end of the stream."""
        self._transport.close()

    def reset(self) -> None:
        """Close at once: with a linger time of 0 the kernel sends RST, and the client sees a reset connection."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class SimulatorProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also hands the connection to the application."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Send what there is at once: head and body are two writes, and Nagle's algorithm would delay the second."""
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Put the connection into the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {}}
        self.scope["extensions"][_EXTENSION] = Connection(self.transport)  # type: ignore[assignment]


async def until_gone(receive: Receive) -> None:
    """Wait until the client, or we, have closed the connection."""
    message: Message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
