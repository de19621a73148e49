"""Before either emulator: logs each request, lets the faults have their way, and judges conditions one at a time.

moto looks whether a condition is met, and then writes: of writers at the same time several would win.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import nullcontext
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ut_clips_dagster_tests.gcs_emulator.answers import error
from ut_clips_dagster_tests.gcs_emulator.backend import HOP_BY_HOP, Backend
from ut_clips_dagster_tests.gcs_emulator.faults import STATUS, Faults
from ut_clips_dagster_tests.gcs_emulator.gateway import ConnectionCutError, _cut, _half
from ut_clips_dagster_tests.gcs_emulator.requests import RequestLog, RequestRecord, object_name, query_of, xml_operation

if TYPE_CHECKING:
    import httpx
    from starlette.types import Receive, Scope, Send

    from ut_clips_dagster_tests.gcs_emulator.faults import Fault

MOTO_SAYS_BEGUN = b"2010-11-10T20:48:33.000Z"
"""Of every upload: all would be taken for abandoned."""


class Gateway:
    """The ASGI application before moto or ministack."""

    def __init__(self, http: httpx.AsyncClient, faults: Faults, log: RequestLog, *, whole_checksums: bool) -> None:
        self._backend = Backend(http)
        self._faults = faults
        self._log = log
        self._whole_checksums = whole_checksums
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, began = Request(scope, receive), time.time()
        operation, path = xml_operation(request), unquote(request.url.path)
        fault = self._faults.take("xml", operation, path)
        status: int | None = None
        response: Response | None
        try:
            response = await self._answer(request, fault)
            status = response.status_code
        except (ConnectionCutError, ClientDisconnect):
            response = None
        name = object_name(request, "xml", b"")
        kind = None if fault is None else fault.kind
        client = request.client.host if request.client else ""
        query = query_of(request)
        self._log.append(
            RequestRecord("xml", operation, request.method, path, query, name, status, kind, client, began, time.time())
        )
        if response is None:
            await _cut(send)
        else:
            await response(scope, receive, send)

    async def _answer(self, request: Request, fault: Fault | None) -> Response:
        kind = None if fault is None else fault.kind
        if kind == "reset":
            raise ConnectionCutError
        if kind == "cut_upload":
            async for _ in _half(request.stream(), int(request.headers.get("content-length", "0")) // 2):
                pass
        if kind is not None and kind in STATUS:
            await request.body()  # read it all, or a client that is still sending never sees the answer
            return error("xml", STATUS[kind], f"fault {kind}, asked for by a test")
        response = await self._forward(request)
        if kind is None or response.status_code >= 400:
            return response
        if kind == "ambiguous":
            return error("xml", 503, "fault ambiguous, asked for by a test: it is stored all the same")
        raise ConnectionCutError

    async def _forward(self, request: Request) -> Response:
        dropped = HOP_BY_HOP | {"expect"}
        if not self._whole_checksums and request.method == "POST" and "uploadId" in request.query_params:
            dropped |= {"x-amz-checksum-crc32c", "x-amz-checksum-type"}
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        url = request.scope["raw_path"].decode()
        if query := request.scope["query_string"].decode():
            url += f"?{query}"
        if request.method == "GET" and "uploads" in request.query_params:
            answer = await self._backend.http.get(url, headers=headers)
            now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.000Z}".encode()
            return Response(answer.content.replace(MOTO_SAYS_BEGUN, now), answer.status_code)
        conditional = "if-match" in headers or "if-none-match" in headers
        async with self._locks[request.url.path] if conditional else nullcontext():
            content = request.stream() if request.method in ("PUT", "POST") else None
            return await self._backend.stream(request.method, url, headers=headers, content=content)
