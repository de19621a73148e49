"""Clips and their pictures, streamed out of the archive.

A path is never made from what was asked: it is the one the table holds for the clip, and only if it lies below clips/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.gallery.ranges import NOT_MODIFIED, UNSATISFIABLE, part_of
from ut_clips_dagster.storage.store import Store

VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/webm")
"""Others are sent as the first: what a media host once said must not make a page of a clip."""
PIECE_BYTES = 2 * 1024 * 1024
"""What is held in memory for each player; in a bucket each piece is a request."""
MAX_POSTER_BYTES = 4 * 1024 * 1024
UNCHANGED = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"


def checked_path(path: str | None, *suffixes: str) -> str | None:
    """A path of the table, if it is one that a clip or its poster may have."""
    if not path or "\\" in path or "\0" in path:
        return None
    parts = path.split("/")
    if parts[0] != "clips" or len(parts) < 4 or any(part in ("", ".", "..") for part in parts):  # noqa: PLR2004
        return None
    return path if not suffixes or PurePosixPath(path).suffix.lower() in suffixes else None


async def stream_clip(store: Store, row: Any, headers: Mapping[str, str], *, with_body: bool) -> Response:
    """The clip of a row of the index, or the part of it that is asked for.

    Raises:
        StorageError: it is not there, or cannot be read.
    """
    path = checked_path(row["storage_path"])
    if path is None or row["size_bytes"] is None:
        raise StorageError("The clip's file is not known.")
    part = part_of(headers, row["size_bytes"], f'"{row["crc32c"]}"')
    kind = row["content_type"] if row["content_type"] in VIDEO_TYPES else VIDEO_TYPES[0]
    sent = {**part.headers, "content-type": kind, "cache-control": ASK_AGAIN}
    if part.status in (NOT_MODIFIED, UNSATISFIABLE) or not with_body:
        return Response(status_code=part.status, headers=sent)
    end = part.start + part.length
    first = await _piece(store, path, part.start, end)  # before the status is sent: it may not be there
    if not first and part.length:
        raise StorageError(f"{path} is shorter than recorded.")
    return StreamingResponse(_pieces(store, path, part.start, end, first), status_code=part.status, headers=sent)


async def poster(store: Store, row: Any) -> Response | None:
    """A clip's still picture; None where there is none."""
    path = checked_path(row["poster_path"], ".jpg", ".jpeg")
    picture = await run_in_threadpool(read_small, store, path) if path else None
    if picture is None:
        return None
    return Response(picture, media_type="image/jpeg", headers={"cache-control": UNCHANGED})


def read_small(store: Store, path: str) -> bytes | None:
    """A picture's bytes; None when it is not there, or too large to be one."""
    try:
        picture = store.read_range(path, 0, MAX_POSTER_BYTES + 1)
    except StorageError:
        return None
    return picture if 0 < len(picture) <= MAX_POSTER_BYTES else None


async def _pieces(store: Store, path: str, start: int, end: int, first: bytes) -> AsyncIterator[bytes]:
    """Piece by piece, as the player takes them: one that goes away costs at most one more."""
    piece = first
    while piece:
        yield piece
        start += len(piece)
        piece = await _piece(store, path, start, end)


async def _piece(store: Store, path: str, start: int, end: int) -> bytes:
    length = min(PIECE_BYTES, end - start)
    return await run_in_threadpool(store.read_range, path, start, length) if length > 0 else b""
