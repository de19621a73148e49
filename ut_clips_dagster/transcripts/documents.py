"""The documents of a session's transcript and of what was cut from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ut_clips_dagster.archive.documents import Cut, Document, RecordedFile
from ut_clips_dagster.archive.records import SESSIONS
from ut_clips_dagster.results_api.models import UtcDatetime, Uuid

TRANSCRIPT, CLIP_TRANSCRIPTS = "transcript", "clip_transcripts"


def transcript_path(session_id: str) -> str:
    """Where a session's transcript is stored."""
    return f"{SESSIONS}{session_id}/transcript.vtt"


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

    def recorded(self) -> Iterator[RecordedFile]:
        """See `Document`."""
        if self.size_bytes is not None and self.crc32c is not None:
            yield RecordedFile(transcript_path(self.session_id), self.size_bytes, self.crc32c)


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

    def recorded(self) -> Iterator[RecordedFile]:
        """See `Document`."""
        for cut in self.cuts:
            yield RecordedFile(cut.vtt_path, cut.size_bytes, cut.crc32c)
