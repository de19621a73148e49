"""The gallery's addresses: one page, what it asks for as JSON, and the clips themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.gallery import files, queries
from ut_clips_dagster.gallery.captions import captions
from ut_clips_dagster.gallery.guard import Guard
from ut_clips_dagster.gallery.index import Index, IndexMissingError
from ut_clips_dagster.gallery.keeper import Keeper
from ut_clips_dagster.gallery.queries import ClipPage, Found, Question, SessionPage
from ut_clips_dagster.gallery.sheet import MAX_PICTURES, contact_sheet
from ut_clips_dagster.storage.store import Store

STATIC = Path(__file__).parent / "static"
_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
Uuid = Annotated[str, InPath(pattern=_UUID)]
MAX_TEXT = 400


@dataclass(frozen=True)
class Gallery:
    """What the addresses are answered from."""

    index: Index
    keeper: Keeper
    store: Store


def create_app(gallery: Gallery, token: str, hosts: Iterable[str] = ()) -> ASGIApp:
    """The application, behind its guard."""
    app = FastAPI(title="Clips", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_exception_handler(IndexMissingError, lambda _, error: _building(gallery, error))
    app.add_exception_handler(StorageError, _not_readable)
    app.add_exception_handler(RequestValidationError, _not_found)
    _add_pages(app)
    _add_questions(app, gallery)
    _add_files(app, gallery)
    app.mount("/static", StaticFiles(directory=STATIC))
    return Guard(app, token, hosts)


def _add_pages(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"])
    @app.api_route("/sessions/{session_id}", methods=["GET", "HEAD"])
    async def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "private, no-cache"})


def _add_questions(app: FastAPI, gallery: Gallery) -> None:
    @app.get("/api/state")
    def state() -> Mapping[str, Any]:
        now = gallery.keeper.state
        answer = {"done": now.rows_done, "rows": now.rows, "problem": now.problem}
        try:
            with gallery.index.reading() as db:
                return {**answer, "building": False, "archive": queries.summary(db)}
        except IndexMissingError:
            gallery.keeper.look()
            return {**answer, "building": True, "archive": None}

    @app.get("/api/search")
    def search(  # noqa: PLR0913, PLR0917 - one for each filter
        q: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        study: Annotated[str, Query(max_length=64)] = "",
        status: Annotated[str, Query(max_length=16)] = "",
        sound: Literal["", "yes", "no"] = "",
        since_ms: Annotated[int | None, Query(ge=0, le=_END_MS)] = None,
        until_ms: Annotated[int | None, Query(ge=0, le=_END_MS)] = None,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    ) -> Found:
        question = Question(
            text=q, study=study, status=status, sound=sound, since_ms=since_ms, until_ms=until_ms, after=after
        )
        with gallery.index.reading() as db:
            return queries.search(db, question)

    @app.get("/api/clips/{session_id}/{clip_uuid}")
    def clip(session_id: Uuid, clip_uuid: Uuid) -> ClipPage:
        with gallery.index.reading() as db:
            return _there(queries.clip_page(db, session_id, clip_uuid))

    @app.get("/api/sessions/{session_id}")
    def session(session_id: Uuid) -> SessionPage:
        with gallery.index.reading() as db:
            return _there(queries.session_page(db, session_id))


def _add_files(app: FastAPI, gallery: Gallery) -> None:
    def row_of(session_id: str, clip_uuid: str) -> Any:
        with gallery.index.reading() as db:
            return _there(queries.clip_row(db, session_id, clip_uuid))

    @app.api_route("/media/{session_id}/{clip_uuid}", methods=["GET", "HEAD"])
    async def media(request: Request, session_id: Uuid, clip_uuid: Uuid) -> Response:
        row = await run_in_threadpool(row_of, session_id, clip_uuid)
        if row["storage_path"] is None:
            raise HTTPException(404)
        return await files.stream_clip(gallery.store, row, request.headers, with_body=request.method == "GET")

    @app.get("/posters/{session_id}/{clip_uuid}")
    async def poster(session_id: Uuid, clip_uuid: Uuid) -> Response:
        row = await run_in_threadpool(row_of, session_id, clip_uuid)
        return _there(await files.poster(gallery.store, row))

    @app.get("/captions/{session_id}/{clip_uuid}.vtt")
    def vtt(session_id: Uuid, clip_uuid: Uuid) -> Response:
        return Response(captions(queries.cues_of(row_of(session_id, clip_uuid))), media_type="text/vtt")

    @app.get("/sheets/{session_id}.jpg")
    def sheet(session_id: Uuid) -> Response:
        with gallery.index.reading() as db:
            paths = queries.poster_paths(db, session_id, MAX_PICTURES)
        wanted = [path for path in (files.checked_path(path, ".jpg", ".jpeg") for path in paths) if path]
        pictures = [picture for path in wanted if (picture := files.read_small(gallery.store, path))]
        # Dagster shows it in its own pages. The strict cookie keeps it to pages of the same site already; the policy
        # `same-site` means names of one domain, and would keep it from Dagster at 127.0.0.1, too
        headers = {"cross-origin-resource-policy": "cross-origin", "cache-control": files.ASK_AGAIN}
        return Response(_there(contact_sheet(pictures)), media_type="image/jpeg", headers=headers)


_END_MS = 60_000 * (2**26 - 1)


def _there(answer: Any) -> Any:
    if answer is None:
        raise HTTPException(404)
    return answer


def _building(gallery: Gallery, error: Exception) -> Response:
    gallery.keeper.look()
    return JSONResponse({"building": True, "problem": str(error)}, 503, {"retry-after": "1"})


async def _not_readable(_: Request, error: Exception) -> Response:
    """The archive's fault, or the index's: the page shows it."""
    return JSONResponse({"problem": str(error)}, 502)


async def _not_found(_: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's signature
    return PlainTextResponse("Not found\n", 404)
