"""Transcripts as `verify` and `repair` see them: documents, files and rows against each other, without any request."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from ut_clips_dagster.archive.companions import Checked, Mended
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.verification import VERIFY_AGAIN, Difference, Kind, repair_of
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.results_api.transcripts import is_webvtt
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.store import Store, crc32c_of
from ut_clips_dagster.transcripts.cut import clip_row, cut
from ut_clips_dagster.transcripts.cutter import cut_session
from ut_clips_dagster.transcripts.documents import ClipTranscriptsDocument
from ut_clips_dagster.transcripts.shelf import TranscriptShelf, stored_transcript
from ut_clips_dagster.transcripts.webvtt_text import read_transcript

REBUILT = "rebuilt from transcript.vtt"
"""Source of a transcript whose document was damaged."""
NO_DOCUMENT = "no document says where they are from"


class SessionTranscripts:
    """`transcript.vtt`, `transcript.json` and the row that they make."""

    def __init__(self, shelf: TranscriptShelf, records: SessionRecords) -> None:
        self._shelf = shelf
        self._records = records

    @property
    def table(self) -> SessionTable:
        """See `Companion`."""
        return self._shelf.table

    def rows(self, session_id: str) -> pd.DataFrame:
        """See `Companion`."""
        record = self._records.inspect(session_id).record
        damaged = self._shelf.transcripts.inspect(session_id)[1] or self._shelf.cuts.inspect(session_id)[1]
        return as_rows(self.table.schema, []) if damaged else self._shelf.row(record)

    def check(self, record: SessionRecord, found: pd.DataFrame | None, *, read_data: bool) -> Checked:  # noqa: ARG002
        """See `Companion`; a transcript is small, so its bytes are read in any case."""
        checked, session_id = Checked(), record.session_id
        document, damaged = self._shelf.transcripts.inspect(session_id)
        if damaged:
            what = f"{self._shelf.transcripts.path(session_id)} is not what was written"
            checked.differences.append(Difference("document damaged", session_id, what, repair_of(session_id)))
            return checked
        if document and document.status == "STORED":
            path = self._shelf.path(session_id)
            checked.differences += _object(self._shelf.store, session_id, path, document.crc32c)
        if found is None or self._shelf.cuts.inspect(session_id)[1]:
            return checked
        if document is None and len(found):
            what = f"{self._shelf.transcripts.path(session_id)} is missing: its row shows that it was there"
            checked.differences.append(Difference("document missing", session_id, what, repair_of(session_id)))
        elif document:
            checked.differences += _rows(session_id, self.table, self._shelf.row(record), found)
        return checked

    def repair(self, record: SessionRecord) -> Mended:
        """See `Companion`; what cannot be rebuilt is asked for again, by one request of the next run."""
        mended, session_id, shelf = Mended(), record.session_id, self._shelf
        found = self.table.read([session_id])
        document, damaged = shelf.transcripts.inspect(session_id)
        body = shelf.store.read_document(shelf.path(session_id))
        lost = document is None and len(found) > 0
        differs = document and document.status == "STORED" and (body is None or crc32c_of([body]) != document.crc32c)
        if (damaged or lost) and body is not None and is_webvtt(body):
            shelf.transcripts.give_up(session_id)
            rebuilt = stored_transcript(session_id, body, REBUILT, now_utc())
            shelf.transcripts.update(session_id, lambda _: rebuilt)
            mended.done.append("transcript.json rebuilt from transcript.vtt")
        elif damaged or lost or differs:
            shelf.forget(session_id)
            mended.done.append("its transcript is no longer recorded: `ut-clips archive` asks for it again")
        if shelf.cuts.inspect(session_id)[1]:
            return mended  # the row is written when they are cut anew
        if not same_rows(self.table, shelf.row(record), found):
            shelf.write_row(record)
            mended.done.append(f"its row of {self.table.name} written from the documents")
        return mended


class ClipTranscripts:
    """The transcripts beside the clips, `clip_transcripts.json` and the rows that they make."""

    def __init__(self, shelf: TranscriptShelf) -> None:
        self._shelf = shelf

    @property
    def table(self) -> SessionTable:
        """See `Companion`."""
        return self._shelf.clips_table

    def rows(self, session_id: str) -> pd.DataFrame:
        """See `Companion`."""
        document, _ = self._shelf.cuts.inspect(session_id)
        expected = None if document is None else self._expected(document)
        return as_rows(self.table.schema, []) if expected is None else expected

    def check(self, record: SessionRecord, found: pd.DataFrame | None, *, read_data: bool) -> Checked:  # noqa: ARG002
        """See `Companion`; the files are small, so their bytes are read in any case."""
        checked, session_id = Checked(), record.session_id
        document, damaged = self._shelf.cuts.inspect(session_id)
        if damaged:
            what = f"{self._shelf.cuts.path(session_id)} is not what was written"
            checked.differences.append(Difference("document damaged", session_id, what, repair_of(session_id)))
        if document is None:
            if found is not None and len(found) and not damaged:
                what = f"{self.table.name} holds {len(found)} rows, and {NO_DOCUMENT}"
                checked.differences.append(Difference("document missing", session_id, what, repair_of(session_id)))
            return checked
        for each in document.cuts:
            checked.recorded.add(each.vtt_path)
            checked.differences += _object(self._shelf.store, session_id, each.vtt_path, each.crc32c)
        expected = self._expected(document)
        if found is not None and expected is not None:
            checked.differences += _rows(session_id, self.table, expected, found)
        return checked

    def repair(self, record: SessionRecord) -> Mended:
        """See `Companion`: all is cut anew from the stored transcript."""
        mended, session_id = Mended(), record.session_id
        if not self.check(record, self.table.read([session_id]), read_data=True).differences:
            return mended
        try:
            body = self._shelf.body(session_id)
        except StorageError as error:
            mended.left.append(str(error))
            return mended
        self._shelf.cuts.give_up(session_id)
        if body is None:
            self.table.replace(session_id, as_rows(self.table.schema, []))
            mended.done.append(
                f"its rows are taken out of {self.table.name}, as its own transcript is not stored: `ut-clips archive` "
                "asks for that again, and cuts it anew"
            )
            return mended
        made = cut_session(self._shelf, record).made
        mended.done.append(f"the transcripts of its clips cut anew: {len(made.rows)} rows, {len(made.files)} files")
        return mended

    def _expected(self, document: ClipTranscriptsDocument) -> pd.DataFrame | None:
        """The rows that a document makes; None when the transcript it was made of is not (or no longer) there."""
        try:
            body = self._shelf.body(document.session_id)
        except StorageError:
            return None  # said by the transcript's own check
        if body is None or crc32c_of([body]) != document.transcript_crc32c:
            return None
        transcript, current = read_transcript(body), set(document.current)
        parts = [(each, each.cut) for each in document.cuts if each.storage_path in current]
        rows = [
            clip_row(document.session_id, each.clip_uuid, cut(transcript, span.time_start_ms, span.time_end_ms))
            for each, span in parts
        ]
        return as_rows(self.table.schema, rows)


def companions(store: Store) -> tuple[SessionTranscripts, ClipTranscripts]:
    """Both, in the order in which they are repaired."""
    shelf = TranscriptShelf(store)
    return SessionTranscripts(shelf, SessionRecords(store)), ClipTranscripts(shelf)


def same_rows(table: SessionTable, expected: pd.DataFrame, found: pd.DataFrame) -> bool:
    """Whether two sets of rows say the same, in whatever order; cells may be lists, which pandas does not compare."""
    try:
        one, other = (
            pa.Table.from_pandas(rows, schema=table.schema, preserve_index=False) for rows in (expected, found)
        )
    except (pa.ArrowException, KeyError):
        return False
    return sorted(map(str, one.to_pylist())) == sorted(map(str, other.to_pylist()))


def _rows(session_id: str, table: SessionTable, expected: pd.DataFrame, found: pd.DataFrame) -> list[Difference]:
    if same_rows(table, expected, found):
        return []
    what = f"{table.name} holds {len(found)} rows; the documents make {len(expected)}, or with other values"
    return [Difference("rows differ", session_id, what, repair_of(session_id))]


def _object(store: Store, session_id: str, path: str, crc32c: str | None) -> list[Difference]:
    kind: Kind
    try:
        content = store.read_document(path)
    except StorageError as error:
        return [Difference("object unreadable", session_id, str(error), VERIFY_AGAIN)]
    if content is None:
        kind, what = "object missing", f"{path} is recorded as stored, but not there"
    elif crc32c_of([content]) != crc32c:
        kind, what = "object differs", f"{path} is not what is recorded"
    else:
        return []
    return [Difference(kind, session_id, what, repair_of(session_id))]
