"""Looks at the stored clips of one session, and writes what it found.

Write order: poster bytes, verified -> `clip_media.json` -> table rows -> (Dagster's event, by the caller). Any of it
may be cut off at any time and done again: a poster that is there already is adopted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from ut_clips_dagster.archive.documents import ListedClip, SessionRecord, StoredClip
from ut_clips_dagster.archive.rows import same_rows
from ut_clips_dagster.archive.side_documents import SideDocuments
from ut_clips_dagster.errors import StorageConflictError, StorageError
from ut_clips_dagster.media.documents import CLIP_MEDIA, ClipMedia, ClipMediaDocument, media_rows
from ut_clips_dagster.media.facts import problem_of
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.store import ObjectInfo, Store

MAX_VARIANTS = 9
"""Names tried for one poster: another version of the encoder may make other bytes of the same picture."""


@dataclass(frozen=True)
class SessionMedia:
    """What is known of a session's stored clips."""

    session_id: str
    clips: tuple[tuple[ListedClip, StoredClip, ClipMedia], ...]
    looked_at: int
    """Files that were looked at in this run."""

    @property
    def problems(self) -> tuple[ClipMedia, ...]:
        """The files with which something is wrong."""
        return tuple(media for _, _, media in self.clips if media.problem)


class MediaMaker:
    """Makes the media facts of sessions; safe beside other runs, as every write of a document merges."""

    def __init__(self, store: Store, table: MediaTable, prober: Prober) -> None:
        self._store = store
        self._table = table
        self._prober = prober
        self._documents = SideDocuments(store, CLIP_MEDIA, ClipMediaDocument)

    def make(self, record: SessionRecord) -> SessionMedia:
        """Look at the session's stored clips that were not looked at yet, and write document and rows.

        Raises:
            StorageError: the archive cannot be read or written; what was found before is kept.
        """
        session_id = record.session_id
        document = self._documents.read(session_id) or ClipMediaDocument(session_id=session_id)
        stored = list(stored_clips(record))
        new: list[ClipMedia] = []
        try:
            for clip, file in stored:
                if document.of(file.storage_path) is None:
                    new.append(self._look(clip, file))
        finally:
            current = tuple(m for _, file in stored if (m := document.of(file.storage_path)))
            if new or [m.storage_path for m in current] != [m.storage_path for m in document.current]:
                document = self._write(session_id, (*current, *new))
        known = self._table.read([session_id])
        if not same_rows(rows := media_rows(session_id, document), known):
            self._table.replace(session_id, rows)
        clips = tuple((clip, file, m) for clip, file in stored if (m := document.of(file.storage_path)))
        return SessionMedia(session_id, clips, len(new))

    def _write(self, session_id: str, files: tuple[ClipMedia, ...]) -> ClipMediaDocument:
        def update(before: ClipMediaDocument | None) -> ClipMediaDocument:
            before = before or ClipMediaDocument(session_id=session_id)
            # what another run wrote of the same file meanwhile stays, as its poster is recorded
            return before.with_current(tuple(before.of(file.storage_path) or file for file in files))

        return self._documents.update(session_id, update)

    def _look(self, clip: ListedClip, file: StoredClip) -> ClipMedia:
        path = file.storage_path
        size = self._store.size_bytes(path)
        if size is None:
            raise StorageError(f"{path} is recorded as stored, but not there. Run `ut-clips verify`.")
        looked = self._prober.look(size, lambda start, length: self._store.read_range(path, start, length))
        range_s = (file.cut.time_end_ms - file.cut.time_start_ms) / 1000
        poster = None if looked.poster is None else self._put_poster(path, looked.poster)
        facts = asdict(looked.facts)
        del facts["failure"]
        return ClipMedia(
            clip_uuid=clip.clip_uuid,
            storage_path=path,
            problem=problem_of(looked.facts, range_s, has_audio=clip.has_audio),
            poster_path=poster.path if poster else None,
            poster_size_bytes=poster.size_bytes if poster else None,
            poster_crc32c=poster.crc32c if poster else None,
            probed_at=now_utc(),
            **facts,
        )

    def _put_poster(self, clip_path: str, poster: bytes) -> ObjectInfo:
        for variant in range(1, MAX_VARIANTS + 1):
            try:
                return self._store.put_clip(poster_path(clip_path, variant), [poster], "image/jpeg")
            except StorageConflictError:
                continue  # a damaged one, or one of another version; nothing stored is overwritten
        raise StorageConflictError(f"All {MAX_VARIANTS} names of the poster of {clip_path} are taken by other bytes.")


def stored_clips(record: SessionRecord) -> list[tuple[ListedClip, StoredClip]]:
    """The clips that are stored, each with the file that its row names (see `clip_metadata`)."""
    clips = record.clip_list.clips if record.clip_list else ()
    files = record.clip_files
    found = ((clip, files.of(clip) or (None if clip.listed else files.newest_of(clip.clip_uuid))) for clip in clips)
    return [(clip, file) for clip, file in found if file]


def poster_path(clip_path: str, variant: int = 1) -> str:
    """Where the poster of a file goes: beside it."""
    path = PurePosixPath(clip_path)
    return str(path.with_name(f"{path.stem}.jpg" if variant == 1 else f"{path.stem}-{variant}.jpg"))
