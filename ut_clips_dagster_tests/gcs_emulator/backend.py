"""The calls that the gateway itself makes to fake-gcs-server, all of them through its JSON API."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping

    import httpx

PRECONDITIONS = ("ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch")
HOP_BY_HOP = frozenset(
    {"connection", "date", "keep-alive", "server", "te", "trailer", "transfer-encoding", "upgrade"},
)


class Backend:
    """fake-gcs-server, behind an asynchronous HTTP client with its base URL."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    @staticmethod
    def object_path(bucket: str, name: str) -> str:
        return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"

    async def bucket_exists(self, bucket: str) -> bool:
        return (await self.http.get(f"/storage/v1/b/{quote(bucket, safe='')}")).is_success

    async def generation(self, bucket: str, name: str) -> int:
        """Return an object's generation, 0 when there is none."""
        answer = await self.http.get(self.object_path(bucket, name))
        return int(answer.json()["generation"]) if answer.is_success else 0

    async def insert(
        self,
        bucket: str,
        metadata: Mapping[str, Any],
        content: AsyncIterable[bytes],
        *,
        size: int | None,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Store an object in one multipart request, the only kind whose preconditions fake-gcs-server honours."""
        boundary = uuid.uuid4().hex
        content_type = metadata.get("contentType", "application/octet-stream")
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(dict(metadata))}\r\n"
            f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def framed() -> AsyncIterator[bytes]:
            yield head
            async for chunk in content:
                yield chunk
            yield tail

        sent = {**(headers or {}), "content-type": f"multipart/related; boundary={boundary}"}
        if size is not None:
            sent["content-length"] = str(len(head) + size + len(tail))
        return await self.http.post(
            f"/upload/storage/v1/b/{quote(bucket, safe='')}/o",
            params={"uploadType": "multipart", **params},
            headers=sent,
            content=framed(),
        )

    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: AsyncIterable[bytes] | None = None,
    ) -> Response:
        """Pass a request on and its answer back, neither of them held in memory."""
        upstream = await self.http.send(
            self.http.build_request(method, url, headers=dict(headers), content=content),
            stream=True,
        )
        kept = {name: value for name, value in upstream.headers.items() if name not in HOP_BY_HOP}

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in upstream.aiter_raw():
                    yield chunk
            finally:
                await upstream.aclose()

        if method == "HEAD":
            await upstream.aclose()
            return Response(status_code=upstream.status_code, headers=kept)
        return StreamingResponse(body(), upstream.status_code, kept)

    async def list_all(self, bucket: str, params: Mapping[str, str]) -> httpx.Response | tuple[list[Any], list[str]]:
        """Return all objects and prefixes, or the answer that says why not."""
        items: list[Any] = []
        prefixes: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = await self.http.get(f"/storage/v1/b/{quote(bucket, safe='')}/o", params={**params, **token})
            if not answer.is_success:
                return answer
            page = answer.json()
            items += page.get("items") or []
            prefixes += page.get("prefixes") or []
            if not page.get("nextPageToken"):
                return items, prefixes
            token = {"pageToken": page["nextPageToken"]}


def passed_on(response: httpx.Response) -> Response:
    """Answer what fake-gcs-server answered, when its body is already here."""
    return Response(response.content, response.status_code, media_type=response.headers.get("content-type"))
