"""Asks for a session's transcript: one request, only where it is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.errors import NotFoundError
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.transcripts.documents import TranscriptDocument
from ut_clips_dagster.transcripts.shelf import TranscriptShelf, ask_again_at


@dataclass(frozen=True)
class Fetched:
    """What is known of a session's transcript now."""

    document: TranscriptDocument | None
    """None: none of its clips is stored, so that it was never asked for."""
    asked: bool
    """One request was sent (and what its retries took)."""


def fetch_transcript(api: ResultsApi, shelf: TranscriptShelf, record: SessionRecord, now: datetime) -> Fetched:
    """Have a session's transcript: from the shelf where it is there, or not due to be asked for; else from the API.

    Raises:
        ResultsApiError: it could not be had; it is tried again.
        StorageError: the archive cannot be read or written.
    """
    document = shelf.transcripts.read(record.session_id)
    if not is_due(record, document, now):
        if document:
            _complete_row(shelf, record)
        return Fetched(document, asked=False)
    source = api.transcript_url(record.session_id)
    try:
        body = api.get_transcript(record.session_id)
    except NotFoundError:  # unknown, of a product without transcripts, or not made yet: all valid
        body = b""
    return Fetched(shelf.keep(record, body, source, now), asked=True)


def is_due(record: SessionRecord, document: TranscriptDocument | None, now: datetime) -> bool:
    """Whether a transcript is to be asked for: a clip is stored, and it is not there, and its time has come."""
    if not record.clip_files.files:
        return False
    if document is None:
        return True
    if document.status == "STORED":
        return False
    again = ask_again_at(record, document)
    return is_future(document.fetched_at, now) or (again is not None and again <= now)


def _complete_row(shelf: TranscriptShelf, record: SessionRecord) -> None:
    """A run that was killed between document and row is made good by the next."""
    if shelf.table.read([record.session_id]).empty:
        shelf.write_row(record)
