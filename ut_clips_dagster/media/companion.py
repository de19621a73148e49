"""What `verify` and `repair` have to know of media facts and posters."""

from __future__ import annotations

import pandas as pd

from ut_clips_dagster.archive.companions import Checked, Mended
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.rows import same_rows
from ut_clips_dagster.archive.side_documents import SideDocuments
from ut_clips_dagster.archive.verification import VERIFY_AGAIN, Difference, Kind, check_bytes, repair_of
from ut_clips_dagster.media.documents import CLIP_MEDIA, ClipMedia, ClipMediaDocument, media_rows
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.store import Store


class MediaCompanion:
    """Media facts, posters and their rows; see `Companion`.

    Nothing of it is the only copy of anything: what is damaged or lost is taken out of document and rows, and its asset
    makes it anew from the clips.
    """

    def __init__(self, store: Store, table: MediaTable) -> None:
        self._store = store
        self._table = table
        self._documents = SideDocuments(store, CLIP_MEDIA, ClipMediaDocument)

    @property
    def table(self) -> MediaTable:
        """See `Companion`."""
        return self._table

    def rows(self, session_id: str) -> pd.DataFrame:
        """See `Companion`."""
        document, _ = self._documents.inspect(session_id)
        return media_rows(session_id, document)

    def check(self, record: SessionRecord, found: pd.DataFrame | None, *, read_data: bool) -> Checked:
        """See `Companion`."""
        session_id, checked = record.session_id, Checked()

        def differs(kind: Kind, what: str) -> None:
            repair = VERIFY_AGAIN if kind == "object unreadable" else repair_of(session_id)
            checked.differences.append(Difference(kind, session_id, what, repair))

        document, damaged = self._documents.inspect(session_id)
        if damaged:
            differs("document damaged", f"{self._documents.path(session_id)} is not what was written")
            return checked
        if document is None and found is not None and len(found):
            what = f"{self._documents.path(session_id)} is missing: rows of {self._table.name} show that it was there"
            differs("document missing", what)
            return checked
        for file in document.files if document else ():
            if file.poster_path:
                checked.recorded.add(file.poster_path)
                if difference := self._check_poster(file, read_data=read_data):
                    differs(*difference)
        expected = media_rows(session_id, document)
        if found is not None and not same_rows(expected, found):
            what = (
                f"{self._table.name} holds {len(found)} rows; the document makes {len(expected)}, or with other values"
            )
            differs("rows differ", what)
        return checked

    def repair(self, record: SessionRecord) -> Mended:
        """See `Companion`."""
        session_id, mended = record.session_id, Mended()
        document, damaged = self._documents.inspect(session_id)
        if damaged:
            self._documents.give_up(session_id)
            mended.done.append(f"{CLIP_MEDIA}.json was damaged: the clips are looked at anew")
        lost = {}
        for file in document.files if document else ():
            if file.poster_path and (difference := self._check_poster(file, read_data=True)):
                kind, what = difference
                if kind == "object unreadable":
                    mended.left.append(what)
                else:
                    lost[file.storage_path] = what
        if lost:
            document = self._forget(session_id, frozenset(lost))
            mended.done += [f"{what}: its clip is looked at anew" for what in lost.values()]
        expected, found = media_rows(session_id, document), self._table.read([session_id])
        if not same_rows(expected, found):
            self._table.replace(session_id, expected)
            mended.done.append(f"{len(expected)} rows of {self._table.name} written, in place of {len(found)}")
        return mended

    def _forget(self, session_id: str, paths: frozenset[str]) -> ClipMediaDocument:
        def update(before: ClipMediaDocument | None) -> ClipMediaDocument:
            return (before or ClipMediaDocument(session_id=session_id)).without(paths)

        return self._documents.update(session_id, update)

    def _check_poster(self, file: ClipMedia, *, read_data: bool) -> tuple[Kind, str] | None:
        if not file.poster_path or file.poster_size_bytes is None or file.poster_crc32c is None:
            return None
        path, size, crc32c = file.poster_path, file.poster_size_bytes, file.poster_crc32c
        return check_bytes(self._store, path, size, crc32c, read_data=read_data)
