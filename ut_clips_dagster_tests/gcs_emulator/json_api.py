"""The JSON API: passed on to fake-gcs-server, except where it ignores what the real service enforces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .answers import json_error
from .backend import HOP_BY_HOP, PRECONDITIONS, Backend, passed_on
from .requests import query_of
from .resumable import ResumableUploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

_UPLOAD = re.compile(r"^/(?:resumable/)?upload/storage/v1/b/(?P<bucket>[^/]+)/o/?$")
_OBJECT = re.compile(
    r"^/(?:download/)?storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
    r"(?:/(?:rewriteTo|copyTo)/b/(?P<to_bucket>[^/]+)/o/(?P<to_name>[^/]+))?$",
)


class JsonApi:
    """Requests below `/storage/v1`, `/upload` and `/download`."""

    def __init__(self, backend: Backend, url: str) -> None:
        self._backend = backend
        self._resumable = ResumableUploads(backend, url)

    async def __call__(self, request: Request, body: AsyncIterator[bytes]) -> Response:
        raw_path = request.scope["raw_path"].decode()
        query = query_of(request)
        if raw_path.startswith("/batch"):  # fake-gcs-server answers the library's batches with an empty one
            return json_error(501, "notImplemented", "batches are not served: make the calls one by one")
        if upload := _UPLOAD.match(raw_path):
            bucket = unquote(upload["bucket"])
            if "upload_id" in query:
                return await self._resumable.proceed(request, body, query["upload_id"])
            if query.get("uploadType") == "resumable" and request.method in ("POST", "PUT"):
                return await self._resumable.start(request, body, bucket)
            if query.get("uploadType") == "media":
                return await self._media(request, body, bucket)
        elif not await self._holds(raw_path, query):
            return json_error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        return await self._forward(request, body, raw_path)

    def close(self) -> None:
        self._resumable.close()

    async def _forward(self, request: Request, body: AsyncIterator[bytes], raw_path: str) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        has_body = "content-length" in headers or "transfer-encoding" in request.headers
        url = f"{raw_path}?{request.scope['query_string'].decode()}".removesuffix("?")
        return await self._backend.stream(request.method, url, headers=headers, content=body if has_body else None)

    async def _media(self, request: Request, body: AsyncIterator[bytes], bucket: str) -> Response:
        """Store a simple upload as a multipart one: fake-gcs-server ignores a simple one's preconditions."""
        query = query_of(request)
        length = request.headers.get("content-length")
        metadata = {
            "name": query.get("name", ""),
            "contentType": request.headers.get("content-type", "application/octet-stream"),
        }
        answer = await self._backend.insert(
            bucket,
            metadata,
            body,
            size=None if length is None else int(length),
            params={key: query[key] for key in PRECONDITIONS if key in query},
            headers={"host": request.headers["host"]},
        )
        return passed_on(answer)

    async def _holds(self, raw_path: str, query: dict[str, str]) -> bool:
        """Check `ifGenerationMatch` of reads, deletions and copies, which fake-gcs-server ignores."""
        target = _OBJECT.match(raw_path)
        if target is None or "ifGenerationMatch" not in query:
            return True
        bucket = unquote(target["to_bucket"] or target["bucket"])
        name = unquote(target["to_name"] or target["name"])
        return int(query["ifGenerationMatch"]) == await self._backend.generation(bucket, name)
