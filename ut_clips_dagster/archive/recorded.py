"""What a session's documents record of its files: the measure of whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ut_clips_dagster.archive.documents import ClipFilesDocument, Document
from ut_clips_dagster.archive.records import DOCUMENTS, SESSIONS, parse_document
from ut_clips_dagster.media.documents import CLIP_MEDIA, ClipMediaDocument
from ut_clips_dagster.transcripts.documents import ClipTranscriptsDocument, TranscriptDocument

MODELS: Mapping[str, type[Document]] = {
    **DOCUMENTS,
    CLIP_MEDIA: ClipMediaDocument,
    "transcript": TranscriptDocument,
    "clip_transcripts": ClipTranscriptsDocument,
}


@dataclass(frozen=True)
class RecordedFile:
    """A file as it was when it was stored."""

    path: str
    size_bytes: int
    crc32c: str
    content_type: str | None = None


def recorded_files(session_id: str, contents: Mapping[str, bytes]) -> tuple[dict[str, RecordedFile], list[str]]:
    """The files that documents name, by path, and the paths of the documents that are damaged. Pure.

    Args:
        session_id: whose documents they are.
        contents: their bytes by path; those that are none of ours are passed over.
    """
    recorded: dict[str, RecordedFile] = {}
    damaged = []
    for name, model in MODELS.items():
        path = f"{SESSIONS}{session_id}/{name}.json"
        try:
            document = parse_document(session_id, model, contents[path]) if path in contents else None
        except ValueError:
            damaged.append(path)
        else:
            recorded.update((file.path, file) for file in _named_by(document))
    return recorded, damaged


def _named_by(document: Document | None) -> Iterator[RecordedFile]:
    if isinstance(document, ClipFilesDocument):
        for clip in document.files:
            yield RecordedFile(clip.storage_path, clip.size_bytes, clip.crc32c, clip.content_type)
    elif isinstance(document, ClipMediaDocument):
        for file in document.files:
            if file.poster_path and file.poster_size_bytes is not None and file.poster_crc32c is not None:
                yield RecordedFile(file.poster_path, file.poster_size_bytes, file.poster_crc32c)
    elif isinstance(document, ClipTranscriptsDocument):
        for cut in document.cuts:
            yield RecordedFile(cut.vtt_path, cut.size_bytes, cut.crc32c)
    elif isinstance(document, TranscriptDocument) and document.size_bytes is not None and document.crc32c is not None:
        yield RecordedFile(f"{SESSIONS}{document.session_id}/transcript.vtt", document.size_bytes, document.crc32c)
