"""`clip_media.json`: what each stored file of a session is; the table's rows are made from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pandas as pd

from ut_clips_dagster.archive.documents import Document, RecordedFile
from ut_clips_dagster.results_api.models import UtcDatetime, Uuid
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.media_table import SCHEMA

CLIP_MEDIA = "clip_media"


class ClipMedia(Document):
    """A stored file that was looked at; its facts, and its poster if it has one."""

    clip_uuid: Uuid
    storage_path: str
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    has_audio_track: bool | None = None
    problem: str | None = None
    poster_path: str | None = None
    poster_size_bytes: int | None = None
    poster_crc32c: str | None = None
    probed_at: UtcDatetime


class ClipMediaDocument(Document):
    """`clip_media.json`: every file of the session that was looked at; of one clip's, the last is the current one."""

    version: Literal[1] = 1
    session_id: Uuid
    files: tuple[ClipMedia, ...] = ()

    def recorded(self) -> Iterator[RecordedFile]:
        """See `Document`."""
        for file in self.files:
            if file.poster_path and file.poster_size_bytes is not None and file.poster_crc32c is not None:
                yield RecordedFile(file.poster_path, file.poster_size_bytes, file.poster_crc32c)

    def of(self, storage_path: str) -> ClipMedia | None:
        """What is known of a file."""
        return next((file for file in self.files if file.storage_path == storage_path), None)

    @property
    def current(self) -> tuple[ClipMedia, ...]:
        """The current file of each clip."""
        return tuple({file.clip_uuid: file for file in self.files}.values())

    def with_current(self, files: tuple[ClipMedia, ...]) -> ClipMediaDocument:
        """The document with these as their clips' current files, in place of what it says of the same files."""
        paths = {file.storage_path for file in files}
        kept = tuple(file for file in self.files if file.storage_path not in paths)
        return self.model_copy(update={"files": (*kept, *files)})

    def without(self, paths: frozenset[str]) -> ClipMediaDocument:
        """The document without what it says of these files."""
        return self.model_copy(update={"files": tuple(f for f in self.files if f.storage_path not in paths)})


def media_rows(session_id: str, document: ClipMediaDocument | None) -> pd.DataFrame:
    """One row per clip that was looked at, with the contract's columns and dtypes. Pure."""
    rows: list[dict[str, Any]] = [
        {**file.model_dump(), "session_id": session_id} for file in (document.current if document else ())
    ]
    return as_rows(SCHEMA, rows)
