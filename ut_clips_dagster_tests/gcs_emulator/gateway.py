"""One base URL for both APIs: log each request, let the faults have their way, hand it to its API."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httpx
from starlette.requests import ClientDisconnect, Request

from .answers import error
from .faults import STATUS, Faults
from .json_api import JsonApi
from .requests import RequestLog, RequestRecord, classify, object_name, query_of
from .xml_api import XmlApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from .backend import Backend
    from .faults import Fault
    from .requests import Api

_log = logging.getLogger(__name__)
PEEK = 16 * 1024


class ConnectionCutError(Exception):
    """A fault wants the connection closed here."""


class Gateway:
    """The ASGI application in front of fake-gcs-server."""

    def __init__(self, backend: Backend, url: str, faults: Faults, log: RequestLog) -> None:
        self._json = JsonApi(backend, url)
        self._apis: dict[Api, Callable[[Request, AsyncIterator[bytes]], Awaitable[Response]]] = {
            "json": self._json,
            "xml": XmlApi(backend),
        }
        self._faults = faults
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        api, operation = classify(request)
        head, body = await _peek(request)
        name = object_name(request, api, head)
        fault = self._faults.take(api, operation, f"{unquote(request.url.path)} {name}")
        status: int | None = None
        try:
            response = await self._answer(api, request, body, fault)
            status = response.status_code
        except (ConnectionCutError, ClientDisconnect):
            response = None
        # Logged before the answer leaves, so that a test that has the answer finds the record.
        self._log.append(
            RequestRecord(
                api,
                operation,
                request.method,
                unquote(request.url.path),
                query_of(request),
                name,
                status,
                None if fault is None else fault.kind,
            ),
        )
        if response is None:
            await _cut(send)
        else:
            await response(scope, receive, send)

    def close(self) -> None:
        self._json.close()

    async def _answer(self, api: Api, request: Request, body: AsyncIterator[bytes], fault: Fault | None) -> Response:
        kind = None if fault is None else fault.kind
        if kind == "reset":
            raise ConnectionCutError
        if kind is not None and kind in STATUS:
            async for _ in body:  # read it all, or a client that is still sending never sees the answer
                pass
            return error(api, STATUS[kind], f"fault {kind}, asked for by a test")
        if kind == "cut_upload":
            body = _half(body, int(request.headers.get("content-length", "0")) // 2)
        try:
            response = await self._apis[api](request, body)
        except httpx.TransportError as failure:
            _log.warning("fake-gcs-server did not answer %s %s: %r", request.method, request.url.path, failure)
            return error(api, 502, f"fake-gcs-server did not answer: {failure!r}")
        if kind is None or kind == "cut_upload" or response.status_code >= 400:
            return response
        if kind == "ambiguous":
            return error(api, 503, "fault ambiguous, asked for by a test: it is stored all the same")
        raise ConnectionCutError


async def _peek(request: Request) -> tuple[bytes, AsyncIterator[bytes]]:
    """Read the head of an upload's body where it names the object; return it, and the body with it."""
    stream, head = request.stream(), b""
    named_in_body = ("multipart/related", "application/json")
    if request.url.path.startswith("/upload/") and request.headers.get("content-type", "").startswith(named_in_body):
        async for chunk in stream:
            head += chunk
            if len(head) >= PEEK:
                break

    async def body() -> AsyncIterator[bytes]:
        if head:
            yield head
        async for chunk in stream:
            yield chunk

    return head, body()


async def _half(body: AsyncIterator[bytes], left: int) -> AsyncIterator[bytes]:
    """Yield that many bytes of a body, then cut."""
    async for chunk in body:
        if len(chunk) >= left:
            if left:
                yield chunk[:left]
            break
        left -= len(chunk)
        yield chunk
    raise ConnectionCutError


async def _cut(send: Send) -> None:
    """Close the connection without an answer: `send` is a method of uvicorn's cycle, which knows its transport."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(0.01)  # uvicorn answers 500 unless it has seen the connection go
