"""Keeps transcripts: the bytes as they came, their documents, and their rows.

Write order: `transcript.vtt` -> `transcript.json` -> row -> (Dagster's event, by the caller); of what is cut: the files
beside the clips -> `clip_transcripts.json` -> rows. A reader of a later one always finds the earlier.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import ABSENT, seal
from ut_clips_dagster.archive.relisting import begin_of, next_time
from ut_clips_dagster.archive.side_documents import SideDocuments
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.session_transcripts_table import SCHEMA, SessionTranscriptsTable
from ut_clips_dagster.storage.store import Store, crc32c_of
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable
from ut_clips_dagster.transcripts.documents import (
    CLIP_TRANSCRIPTS,
    TRANSCRIPT,
    ClipTranscriptsDocument,
    TranscriptDocument,
    transcript_path,
)
from ut_clips_dagster.transcripts.webvtt_text import read_transcript


class TranscriptShelf:
    """All transcripts of an archive."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.transcripts = SideDocuments(store, TRANSCRIPT, TranscriptDocument)
        self.cuts = SideDocuments(store, CLIP_TRANSCRIPTS, ClipTranscriptsDocument)
        self.table = SessionTranscriptsTable(store.uri)
        self.clips_table = TranscriptsTable(store.uri)

    @staticmethod
    def path(session_id: str) -> str:
        """Where a session's transcript is, below the archive's root."""
        return transcript_path(session_id)

    def body(self, session_id: str) -> bytes | None:
        """The transcript that is recorded, byte for byte; None when none is.

        Raises:
            StorageError: it cannot be read, or is not what is recorded.
        """
        document = self.transcripts.read(session_id)
        if document is None or document.status != "STORED":
            return None
        content = self.store.read_document(self.path(session_id))
        if content is None or crc32c_of([content]) != document.crc32c:
            raise StorageError(
                f"{self.path(session_id)} in {self.store.uri} is not what was stored. "
                f"Run `ut-clips repair --session {session_id}`."
            )
        return content

    def keep(self, record: SessionRecord, body: bytes, source: str, at: datetime) -> TranscriptDocument:
        """Store a session's transcript; an empty body means that there is none, and never replaces one."""
        session_id = record.session_id
        if body:
            self.store.update_document(self.path(session_id), lambda _: body)

        def update(before: TranscriptDocument | None) -> TranscriptDocument:
            if body:
                # what is there, not what was written: another run may have written since, and records it after this
                return stored_transcript(session_id, self.store.read_document(self.path(session_id)) or b"", source, at)
            absent = TranscriptDocument(session_id=session_id, status="ABSENT", fetched_at=at, source=source)
            return before if before and before.status == "STORED" else absent

        document = self.transcripts.update(session_id, update)
        self.write_row(record)
        return document

    def forget(self, session_id: str) -> None:
        """Take a transcript out of the record, so that it is asked for again; its bytes stay until others come."""
        self.store.update_document(self.transcripts.path(session_id), lambda _: seal(ABSENT))

    def write_row(self, record: SessionRecord) -> None:
        """Write the session's row from its documents."""
        self.table.replace(record.session_id, self.row(record))

    def row(self, record: SessionRecord) -> pd.DataFrame:
        """The session's row as its documents make it; none where it was not asked for.

        Raises:
            StorageError: a document is damaged, or cannot be read.
        """
        document, cuts = self.transcripts.read(record.session_id), self.cuts.read(record.session_id)
        if document is None:
            return as_rows(SCHEMA, [])
        cut = cuts.current if cuts and cuts.transcript_crc32c == document.crc32c else ()
        again = None if document.status == "STORED" else ask_again_at(record, document)
        known = document.model_dump(exclude={"version", "source"})
        return as_rows(SCHEMA, [{**known, "ask_again_at": again, "clips_cut": list(cut)}])


def stored_transcript(session_id: str, body: bytes, source: str, at: datetime) -> TranscriptDocument:
    """The document of a transcript."""
    read = read_transcript(body)
    return TranscriptDocument(
        session_id=session_id,
        status="STORED",
        fetched_at=at,
        source=source,
        size_bytes=len(body),
        crc32c=crc32c_of([body]),
        cues=len(read.cues),
        problem=read.problem,
    )


def ask_again_at(record: SessionRecord, document: TranscriptDocument) -> datetime | None:
    """When a transcript that is not there is asked for again: on the schedule of late clips; None: never.

    Told from the documents alone, as rows are compared with it: whether they lie ahead, `is_due` asks.
    """
    return next_time(begin_of(record, document.fetched_at) or document.fetched_at, document.fetched_at)
