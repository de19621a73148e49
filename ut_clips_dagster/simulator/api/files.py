"""Clips' files behind their signed links, served as S3 serves them."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from ut_clips_dagster.simulator.api.calls import Call, Operation
from ut_clips_dagster.simulator.api.schemas import iso_milliseconds
from ut_clips_dagster.simulator.faults.names import FILE_FAULTS
from ut_clips_dagster.simulator.faults.wire import Reply, xml_error
from ut_clips_dagster.simulator.parts import Simulator
from ut_clips_dagster.simulator.world.flaws import Flaw
from ut_clips_dagster.simulator.world.links import LinkState, expires_at
from ut_clips_dagster.simulator.world.media import MediaFile, media_file

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def files_router(simulator: Simulator) -> APIRouter:
    """The files, over the parts of a simulator."""
    router = APIRouter(include_in_schema=False)

    @router.get("/media/{session_id}/{clip_uuid}/{cut}.mp4")
    @router.get("/media/moved/{session_id}/{clip_uuid}/{cut}.mp4")
    async def download(request: Request, session_id: str, clip_uuid: str, cut: str) -> Response:
        """The file, or the part that Range asks for; the link is checked once, as the download begins."""
        query = request.query_params
        state = simulator.links.check(f"/media/{session_id}/{clip_uuid}/{cut}.mp4", query)
        if state is LinkState.FORGED:
            return _respond(
                xml_error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
            )
        if state is LinkState.EXPIRED:
            expired = iso_milliseconds(expires_at(query["X-Amz-Date"], query["X-Amz-Expires"]))
            now = iso_milliseconds(simulator.clock.wire_now())
            details = f"<Expires>{expired}</Expires><ServerTime>{now}</ServerTime>"
            return _respond(xml_error(403, "AccessDenied", "Request has expired", details))
        try:
            render = simulator.world.find_render(clip_uuid, cut)
        except KeyError:
            return _respond(xml_error(404, "NoSuchKey", "The specified key does not exist."))
        # In a thread: a video is encoded at its first download, and other requests should not wait for it.
        fault = simulator.faults.take(Call(Operation.MEDIA, session_id, clip_uuid), FILE_FAULTS)
        file = await run_in_threadpool(media_file, render, Flaw(fault.name.value) if fault else None)
        return _file_response(file, request.headers.get("range"), request.headers.get("if-range"))

    return router


@dataclass(frozen=True)
class _Part:
    start: int
    stop: int
    is_range: bool


def _part(size: int, range_header: str | None) -> _Part | None:
    """What Range asks for; all of it without one, or with one of several parts; None: there is no such part."""
    match = _RANGE.fullmatch(range_header.strip()) if range_header else None
    first, last = match.groups() if match else ("", "")
    if first and (not last or int(last) >= int(first)):
        part = _Part(int(first), min(int(last) + 1, size) if last else size, is_range=True)
    elif last and not first:
        part = _Part(max(0, size - int(last)), size, is_range=True)
    else:
        return _Part(0, size, is_range=False)
    return part if part.start < part.stop else None


def _file_response(file: MediaFile, range_header: str | None, if_range: str | None) -> Response:
    etag = f'"{file.etag}"'
    part = _part(file.size, range_header if if_range in (None, etag) else None)
    if part is None:
        reply = xml_error(416, "InvalidRange", "The requested range is not satisfiable")
        return _respond(reply, {"Content-Range": f"bytes */{file.size}"})
    headers = {"Accept-Ranges": "bytes", "ETag": etag, "Content-Length": str(part.stop - part.start)}
    if part.is_range:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
    return StreamingResponse(_stream(file, part), 206 if part.is_range else 200, headers, media_type="video/mp4")


async def _stream(file: MediaFile, part: _Part) -> AsyncIterator[bytes]:
    for chunk in file.chunks(part.start, part.stop):
        yield chunk


def _respond(reply: Reply, headers: dict[str, str] | None = None) -> Response:
    return Response(reply.body, reply.status, headers, media_type=reply.content_type)
