"""The documents of a session's transcript and of what was cut from it."""

from __future__ import annotations

from typing import Literal

from ut_clips_dagster.archive.documents import Cut, Document
from ut_clips_dagster.results_api.models import UtcDatetime, Uuid


class TranscriptDocument(Document):
    """`transcript.json`: what the API answered; `transcript.vtt` beside it is the transcript, byte for byte."""

    version: Literal[1] = 1
    session_id: Uuid
    status: Literal["STORED", "ABSENT"]
    fetched_at: UtcDatetime
    """When it was last asked for."""
    source: str
    """Where it is from: the request's URL."""
    size_bytes: int | None = None
    crc32c: str | None = None
    cues: int | None = None
    problem: str | None = None


class CutTranscript(Document):
    """The transcript of one stored file of a clip."""

    clip_uuid: Uuid
    cut: Cut
    storage_path: str
    """The clip's file."""
    vtt_path: str
    size_bytes: int
    crc32c: str


class ClipTranscriptsDocument(Document):
    """`clip_transcripts.json`: which files of clips the transcript was cut to."""

    version: Literal[1] = 1
    session_id: Uuid
    transcript_crc32c: str
    """Of the transcript that was cut."""
    current: tuple[str, ...] = ()
    """Files of clips, of those below, that the table's rows are about: one for each clip."""
    cuts: tuple[CutTranscript, ...] = ()
