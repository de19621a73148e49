"""The part of the XML API that Delta's object store speaks, translated to the JSON API of fake-gcs-server."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from starlette.responses import Response

from .answers import error, xml_error
from .requests import query_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from starlette.requests import Request

    from .backend import Backend

_PASSED_ON = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "accept-encoding")
_XML = "application/xml; charset=UTF-8"
_PAGE = 1000


@dataclass
class MultipartUpload:
    """The parts of one multipart upload, until they are put together."""

    metadata: dict[str, Any]
    parts: dict[int, bytes] = field(default_factory=dict)


class XmlApi:
    """Requests for `/bucket` and `/bucket/object`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._uploads: dict[str, MultipartUpload] = {}

    async def __call__(self, request: Request, body: AsyncIterator[bytes]) -> Response:
        raw_bucket, _, raw_name = request.scope["raw_path"].decode().lstrip("/").partition("/")
        bucket, name = unquote(raw_bucket), unquote(raw_name)
        query = query_of(request)
        if not bucket or not name:
            served = bucket and request.method == "GET"
            return await self._list(bucket, query) if served else error("xml", 405, "of a bucket only lists are served")
        if "uploads" in query or "uploadId" in query:
            return await self._multipart(request, body, bucket, name)
        if request.method in ("GET", "HEAD"):
            return await self._read(request, bucket, name)
        if request.method == "PUT":
            return await self._put(request, body, bucket, name)
        if request.method == "DELETE":
            return await self._delete(bucket, name)
        return error("xml", 405, f"{request.method} of an object is not served")

    async def _put(self, request: Request, body: AsyncIterator[bytes], bucket: str, name: str) -> Response:
        if "x-goog-copy-source" in request.headers:
            return await self._copy(request, bucket, name)
        length = request.headers.get("content-length")
        size = None if length is None else int(length)
        return await self._store(bucket, _metadata(request, name), body, size, _preconditions(request))

    async def _delete(self, bucket: str, name: str) -> Response:
        answer = await self._backend.http.delete(self._backend.object_path(bucket, name))
        return Response(status_code=204) if answer.is_success else _failed(answer)

    async def _read(self, request: Request, bucket: str, name: str) -> Response:
        url = f"{self._backend.object_path(bucket, name)}?alt=media"
        if generation := query_of(request).get("generation"):
            url += f"&generation={generation}"
        headers = {header: request.headers[header] for header in _PASSED_ON if header in request.headers}
        return await self._backend.stream(request.method, url, headers={"accept-encoding": "identity", **headers})

    async def _store(
        self,
        bucket: str,
        metadata: dict[str, Any],
        content: AsyncIterator[bytes],
        size: int | None,
        params: dict[str, str],
    ) -> Response:
        answer = await self._backend.insert(bucket, metadata, content, size=size, params=params)
        if not answer.is_success:
            return _failed(answer)
        stored = answer.json()
        headers = {
            "etag": f'"{stored["etag"]}"',
            "x-goog-generation": stored["generation"],
            "x-goog-metageneration": stored["metageneration"],
            "x-goog-hash": f"crc32c={stored['crc32c']},md5={stored['md5Hash']}",
        }
        return Response(status_code=200, headers=headers)

    async def _copy(self, request: Request, bucket: str, name: str) -> Response:
        """Copy by reading and storing, so that the precondition holds at the moment of storing."""
        raw_bucket, _, raw_name = request.headers["x-goog-copy-source"].lstrip("/").partition("/")
        source = self._backend.object_path(unquote(raw_bucket), unquote(raw_name))
        described, data = await self._backend.http.get(source), await self._backend.http.get(f"{source}?alt=media")
        if not (described.is_success and data.is_success):
            return _failed(data)
        metadata = {"name": name, "contentType": described.json().get("contentType", "application/octet-stream")}
        content = data.content
        stored = await self._store(bucket, metadata, _chunks(content), len(content), _preconditions(request))
        if stored.status_code != 200:
            return stored
        body = f"<CopyObjectResult><ETag>{escape(stored.headers['etag'])}</ETag></CopyObjectResult>"
        return Response(body, headers={"x-goog-generation": stored.headers["x-goog-generation"]}, media_type=_XML)

    async def _list(self, bucket: str, query: dict[str, str]) -> Response:
        listing = await self._backend.list_all(
            bucket,
            {key: query[key] for key in ("prefix", "delimiter") if query.get(key)},
        )
        if not isinstance(listing, tuple):
            return _failed(listing)
        items, prefixes = listing
        after = query.get("start-after", "")
        if token := query.get("continuation-token"):
            after = max(after, base64.urlsafe_b64decode(token).decode())
        entries = sorted([(item["name"], _contents(item)) for item in items] + [(p, _prefix(p)) for p in prefixes])
        entries = [entry for entry in entries if entry[0] > after]
        limit = min(int(query.get("max-keys") or _PAGE), _PAGE)
        page, rest = entries[:limit], entries[limit:]
        more = base64.urlsafe_b64encode(page[-1][0].encode()).decode() if page and rest else ""
        body = "".join(
            [
                '<?xml version="1.0" encoding="UTF-8"?>',
                '<ListBucketResult xmlns="http://doc.s3.amazonaws.com/2006-03-01">',
                f"<Name>{escape(bucket)}</Name><Prefix>{escape(query.get('prefix', ''))}</Prefix>",
                f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(bool(rest)).lower()}</IsTruncated>",
                f"<NextContinuationToken>{more}</NextContinuationToken>" if more else "",
                *(xml for _, xml in page),
                "</ListBucketResult>",
            ],
        )
        return Response(body, media_type=_XML)

    async def _multipart(self, request: Request, body: AsyncIterator[bytes], bucket: str, name: str) -> Response:
        method, query = request.method, query_of(request)
        if method == "POST" and "uploads" in query:
            upload_id = uuid.uuid4().hex
            self._uploads[upload_id] = MultipartUpload(_metadata(request, name))
            xml = (
                f"<InitiateMultipartUploadResult><Bucket>{escape(bucket)}</Bucket><Key>{escape(name)}</Key>"
                f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            )
            return Response(xml, media_type=_XML)
        upload_id = query.get("uploadId", "")
        upload = self._uploads.get(upload_id)
        if upload is None:
            return xml_error(404, "NoSuchUpload", "no such multipart upload")
        if method == "PUT":
            data = b"".join([chunk async for chunk in body])
            upload.parts[int(query["partNumber"])] = data
            return Response(status_code=200, headers={"etag": _etag(data)})
        if method == "POST":
            return await self._complete(body, bucket, upload_id, upload)
        if method == "DELETE":
            del self._uploads[upload_id]
            return Response(status_code=204)
        return error("xml", 405, f"{method} of a multipart upload is not served")

    async def _complete(
        self,
        body: AsyncIterator[bytes],
        bucket: str,
        upload_id: str,
        upload: MultipartUpload,
    ) -> Response:
        wanted = ET.fromstring(b"".join([chunk async for chunk in body]))
        numbers = [int(part.findtext("{*}PartNumber", "0")) for part in wanted.iterfind("{*}Part")]
        tags = [part.findtext("{*}ETag", "").strip() for part in wanted.iterfind("{*}Part")]
        for number, tag in zip(numbers, tags, strict=True):
            if number not in upload.parts or _etag(upload.parts[number]) != tag:
                return xml_error(400, "InvalidPart", f"part {number} is missing or differs")
        parts = [upload.parts[number] for number in numbers]
        stored = await self._store(bucket, upload.metadata, _chunks(*parts), sum(map(len, parts)), {})
        if stored.status_code != 200:
            return stored
        del self._uploads[upload_id]
        xml = (
            f"<CompleteMultipartUploadResult><Bucket>{escape(bucket)}</Bucket>"
            f"<Key>{escape(upload.metadata['name'])}</Key><ETag>{escape(stored.headers['etag'])}</ETag>"
            "</CompleteMultipartUploadResult>"
        )
        headers = {"x-goog-generation": stored.headers["x-goog-generation"]}
        return Response(xml, headers=headers, media_type=_XML)


def _metadata(request: Request, name: str) -> dict[str, Any]:
    known = {"content-type": "contentType", "cache-control": "cacheControl", "content-encoding": "contentEncoding"}
    metadata: dict[str, Any] = {key: request.headers[h] for h, key in known.items() if h in request.headers}
    prefix = "x-goog-meta-"
    custom = {key.removeprefix(prefix): value for key, value in request.headers.items() if key.startswith(prefix)}
    return {**metadata, "name": name, **({"metadata": custom} if custom else {})}


def _preconditions(request: Request) -> dict[str, str]:
    expected = request.headers.get("x-goog-if-generation-match")
    return {} if expected is None else {"ifGenerationMatch": expected}


def _contents(item: dict[str, Any]) -> str:
    return (
        f"<Contents><Key>{escape(item['name'])}</Key><Generation>{item['generation']}</Generation>"
        f"<LastModified>{item['updated']}</LastModified><ETag>&quot;{escape(item['etag'])}&quot;</ETag>"
        f"<Size>{item['size']}</Size></Contents>"
    )


def _prefix(prefix: str) -> str:
    return f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>"


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


async def _chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def _failed(answer: httpx.Response) -> Response:
    return error("xml", answer.status_code, f"fake-gcs-server: {answer.text[:200]}")
