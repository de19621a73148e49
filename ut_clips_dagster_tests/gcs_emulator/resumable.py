"""Resumable uploads as the real service does them.

fake-gcs-server forgets their preconditions and takes a status query for the end of the data, so the sessions live
here, and the finished object goes on in one conditional request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import uuid
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import google_crc32c
from starlette.responses import Response

from .answers import json_error
from .backend import PRECONDITIONS, Backend, passed_on
from .requests import ContentRange, query_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

QUANTUM = 256 * 1024  # what the service keeps of an unfinished upload is a multiple of this
BLOCK = 256 * 1024


def _on_disk() -> IO[bytes]:
    """Keep the data out of memory: a test may measure what its own process uses."""
    return tempfile.TemporaryFile()


@dataclass
class Session:
    """One upload in progress."""

    bucket: str
    metadata: dict[str, Any]
    params: dict[str, str]
    host: str
    data: IO[bytes] = field(default_factory=_on_disk)
    received: int = 0
    finished: Response | None = None

    def append(self, chunk: bytes) -> None:
        self.data.seek(self.received)
        self.data.write(chunk)
        self.received += len(chunk)

    def keep(self, size: int) -> None:
        self.data.truncate(size)
        self.received = size

    async def content(self) -> AsyncIterator[bytes]:
        self.data.seek(0)
        while block := self.data.read(BLOCK):
            yield block

    def contradicts(self, hashes: dict[str, str]) -> bool:
        """Tell whether the data differ from a checksum that the client sent, as the service does at the end."""
        crc32c, md5 = 0, hashlib.md5(usedforsecurity=False)
        self.data.seek(0)
        while block := self.data.read(BLOCK):
            crc32c = google_crc32c.extend(crc32c, block)
            md5.update(block)
        digests = {"crc32c": crc32c.to_bytes(4, "big"), "md5": md5.digest()}
        actual = {name: base64.b64encode(digest).decode() for name, digest in digests.items()}
        return any(hashes[name] != value for name, value in actual.items() if name in hashes)


class ResumableUploads:
    """All sessions of one emulator."""

    def __init__(self, backend: Backend, url: str) -> None:
        self._backend = backend
        self._url = url
        self._sessions: dict[str, Session] = {}

    async def start(self, request: Request, body: AsyncIterator[bytes], bucket: str) -> Response:
        """Open a session, whose Location leads back through the gateway."""
        query = query_of(request)
        metadata: dict[str, Any] = json.loads(b"".join([chunk async for chunk in body]) or b"{}")
        metadata["name"] = name = query.get("name") or metadata.get("name", "")
        if content_type := request.headers.get("x-upload-content-type"):
            metadata["contentType"] = content_type
        if not name:
            return json_error(400, "Required", "an upload needs the object's name")
        if not await self._backend.bucket_exists(bucket):
            return json_error(404, "notFound", "The specified bucket does not exist.")
        expected = query.get("ifGenerationMatch")
        if expected is not None and int(expected) != await self._backend.generation(bucket, name):
            return json_error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        upload_id = uuid.uuid4().hex
        params = {key: query[key] for key in (*PRECONDITIONS, "predefinedAcl") if key in query}
        self._sessions[upload_id] = Session(bucket, metadata, params, request.headers["host"])
        location = (
            f"{self._url}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
            f"?uploadType=resumable&name={quote(name, safe='')}&upload_id={upload_id}"
        )
        return Response(status_code=200, headers={"location": location, "x-guploader-uploadid": upload_id})

    async def proceed(self, request: Request, body: AsyncIterator[bytes], upload_id: str) -> Response:
        """Take data, answer a status query, or cancel."""
        session = self._sessions.get(upload_id)
        if session is None:
            return json_error(404, "notFound", "no such upload session")
        if request.method == "DELETE":
            self._drop(upload_id)
            return Response(status_code=499)
        try:
            span = ContentRange.parse(request.headers.get("content-range"))
        except ValueError as error:
            return json_error(400, "badRequest", str(error))
        if session.finished is not None:
            return session.finished
        start = 0 if span is None else session.received if span.first is None else span.first
        if start > session.received:
            return json_error(503, "backendError", f"the upload's offset is {start}, but {session.received} are here")
        final = span is None or span.is_final
        await self._take(session, body, start, final=final)
        if span is not None and span.total is not None and session.received != span.total:
            final = False
        return await self._finish(upload_id, session, request) if final else self._status(session)

    def close(self) -> None:
        """Forget every session."""
        for upload_id in list(self._sessions):
            self._drop(upload_id)

    def _drop(self, upload_id: str) -> None:
        self._sessions.pop(upload_id).data.close()

    async def _take(self, session: Session, body: AsyncIterator[bytes], start: int, *, final: bool) -> None:
        """Append what is new; of an unfinished upload the service keeps whole quanta only."""
        skip = session.received - start
        complete = False
        try:
            async for chunk in body:
                fresh = chunk[skip:]
                skip = max(0, skip - len(chunk))
                session.append(fresh)
            complete = True
        finally:
            if not (final and complete):
                session.keep(session.received // QUANTUM * QUANTUM)

    @staticmethod
    def _status(session: Session) -> Response:
        headers = {"range": f"bytes=0-{session.received - 1}"} if session.received else {}
        return Response(status_code=308, headers=headers)

    async def _finish(self, upload_id: str, session: Session, request: Request) -> Response:
        hashes = dict(part.strip().split("=", 1) for part in request.headers.get("x-goog-hash", "").split(",") if part)
        promised = {"crc32c": session.metadata.get("crc32c"), "md5": session.metadata.get("md5Hash")}
        hashes.update({name: value for name, value in promised.items() if value})
        if session.contradicts(hashes):
            self._drop(upload_id)
            return json_error(400, "invalid", "Provided checksum doesn't match calculated checksum.")
        answer = await self._backend.insert(
            session.bucket,
            session.metadata,
            session.content(),
            size=session.received,
            params=session.params,
            headers={"host": session.host},
        )
        if answer.is_success:
            session.finished = passed_on(answer)
            session.data.close()
        else:
            self._drop(upload_id)
        return passed_on(answer)
