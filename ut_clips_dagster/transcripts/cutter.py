"""Cuts stored transcripts to stored clips: files beside the clips, document, rows. Sends no request."""

from __future__ import annotations

from dataclasses import dataclass, field

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.store import crc32c_of
from ut_clips_dagster.storage.transcripts_table import SCHEMA
from ut_clips_dagster.transcripts.cut import ClipTranscripts, clip_transcripts, vtt_path
from ut_clips_dagster.transcripts.documents import ClipTranscriptsDocument, CutTranscript
from ut_clips_dagster.transcripts.shelf import TranscriptShelf
from ut_clips_dagster.transcripts.webvtt_text import read_transcript


@dataclass(frozen=True)
class Cutting:
    """What was cut of one session."""

    made: ClipTranscripts
    problem: str | None = None
    """What is wrong with its transcript, in words."""
    names: dict[str, str] = field(default_factory=dict)
    """The clips' names, by UUID."""


def cut_session(shelf: TranscriptShelf, record: SessionRecord) -> Cutting:
    """Cut a session's transcript to all its stored clips; without a transcript there is nothing to cut, and no error.

    Raises:
        StorageError: the archive cannot be read or written, or the transcript is damaged.
    """
    session_id = record.session_id
    body = shelf.body(session_id)
    transcript = None if body is None else read_transcript(body)
    made = clip_transcripts(record, transcript)
    for path, content in made.files.items():
        if shelf.store.read_document(path) != content:
            shelf.store.update_document(path, lambda _, content=content: content)  # type: ignore[misc]
    if body is not None:
        shelf.cuts.update(session_id, lambda _: document_of(record, made, crc32c_of([body])))
        shelf.clips_table.replace(session_id, as_rows(SCHEMA, made.rows))
        shelf.write_row(record)
    names = {clip.clip_uuid: clip.name for clip in record.clip_list.clips} if record.clip_list else {}
    return Cutting(made, transcript.problem if transcript else None, names)


def document_of(record: SessionRecord, made: ClipTranscripts, transcript_crc32c: str) -> ClipTranscriptsDocument:
    """The document of what was made of a transcript."""
    clips = record.clip_list.clips if record.clip_list else ()
    current = sorted(file.storage_path for clip in clips if (file := record.stored(clip)))
    files = {file.storage_path: file for file in record.clip_files.files}
    cuts = [
        CutTranscript(
            clip_uuid=file.clip_uuid,
            cut=file.cut,
            storage_path=path,
            vtt_path=vtt_path(path),
            size_bytes=len(content),
            crc32c=crc32c_of([content]),
        )
        for path, file in sorted(files.items())
        if (content := made.files.get(vtt_path(path))) is not None
    ]
    return ClipTranscriptsDocument(
        session_id=record.session_id, transcript_crc32c=transcript_crc32c, current=tuple(current), cuts=tuple(cuts)
    )
