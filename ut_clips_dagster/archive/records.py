"""Reads and writes the documents of sessions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from ut_clips_dagster.archive.documents import (
    ClipFilesDocument,
    ClipListDocument,
    ClipProblem,
    ClipUrlsDocument,
    Document,
    Generation,
    ListedClip,
    SessionDocument,
    SessionRecord,
    StoredClip,
)
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.store import Store

DocumentT = TypeVar("DocumentT", bound=Document)

SESSIONS = "sessions/"
CLIPS = "clips/"
_SEAL = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n\}\n\Z')


def clip_path(study_uuid: str, session_id: str, clip: ListedClip, variant: int = 0) -> str:
    """Where a clip's file goes: the first cut by the clip's name, others beside it. All parts are checked UUIDs."""
    base = f"{CLIPS}{study_uuid}/{session_id}/{clip.clip_uuid}"
    if variant == 0:
        return f"{base}.mp4"
    span = f"{clip.cut.time_start_ms}-{clip.cut.time_end_ms}"
    return f"{base}/{span}.mp4" if variant == 1 else f"{base}/{span}-{variant}.mp4"


def seal(payload: bytes) -> bytes:
    """A JSON object with a last member `sha256` over all before it, so that any change of a byte is found."""
    digest = hashlib.sha256(payload).hexdigest()
    return payload.rstrip(b"\n}") + f',\n "sha256": "{digest}"\n}}\n'.encode()


def unseal(content: bytes) -> bytes:
    """The object without its seal.

    Raises:
        ValueError: the seal is missing, or does not fit the content.
    """
    match = _SEAL.search(content)
    if match is None:
        raise ValueError("no seal")
    payload = content[: match.start()] + b"\n}"
    if hashlib.sha256(payload).hexdigest().encode() != match.group(1):
        raise ValueError("the seal does not fit the content")
    return payload


class SessionRecords:
    """The documents below `sessions/`. Every update merges, so that two runs on one session lose nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, session_id: str) -> SessionRecord:
        """All documents of a session; those not written yet are None or empty.

        Raises:
            StorageError: a document cannot be read, or is damaged.
        """
        return SessionRecord(
            session_id=session_id,
            session=self._read(session_id, "session", SessionDocument),
            clip_list=self._read(session_id, "clip_list", ClipListDocument),
            clip_urls=self._read(session_id, "clip_urls", ClipUrlsDocument) or ClipUrlsDocument(session_id=session_id),
            clip_files=self._read(session_id, "clip_files", ClipFilesDocument)
            or ClipFilesDocument(session_id=session_id),
        )

    def session(self, session_id: str) -> SessionDocument | None:
        """What the session list said of a session."""
        return self._read(session_id, "session", SessionDocument)

    def write_session(self, document: SessionDocument) -> None:
        """Keep what the session list says; `found_at` stays the first one's."""

        def update(before: SessionDocument | None) -> SessionDocument:
            return document.model_copy(update={"found_at": before.found_at}) if before else document

        self._update(document.session_id, "session", SessionDocument, update)

    def write_listing(
        self, session_id: str, update: Callable[[ClipListDocument | None], ClipListDocument]
    ) -> ClipListDocument:
        """Write a new listing, made from the present one; a newer one written by another run stays."""

        def newest(before: ClipListDocument | None) -> ClipListDocument:
            after = update(before)
            return before if before and before.listed_at > after.listed_at else after

        return self._update(session_id, "clip_list", ClipListDocument, newest)

    def add_generation(self, session_id: str, generation: Generation) -> ClipUrlsDocument:
        """Write how a clip's generation went, in place of what is known of it."""

        def update(before: ClipUrlsDocument | None) -> ClipUrlsDocument:
            others = [g for g in before.clips if g.clip_uuid != generation.clip_uuid] if before else []
            return ClipUrlsDocument(session_id=session_id, clips=(*others, generation))

        return self._update(session_id, "clip_urls", ClipUrlsDocument, update)

    def add_file(self, session_id: str, stored: StoredClip) -> ClipFilesDocument:
        """Write that a clip is stored; a file of the same cut that another run recorded stays the one."""

        def update(before: ClipFilesDocument | None) -> ClipFilesDocument:
            files = before.files if before else ()
            problems = before.problems if before else ()
            if not any(f.clip_uuid == stored.clip_uuid and f.cut == stored.cut for f in files):
                files = (*files, stored)
            left = tuple(p for p in problems if p.clip_uuid != stored.clip_uuid)
            return ClipFilesDocument(session_id=session_id, files=files, problems=left)

        return self._update(session_id, "clip_files", ClipFilesDocument, update)

    def set_problems(self, session_id: str, problems: tuple[ClipProblem, ...]) -> ClipFilesDocument:
        """Write why clips are not stored, in place of earlier reasons."""

        def update(before: ClipFilesDocument | None) -> ClipFilesDocument:
            return ClipFilesDocument(session_id=session_id, files=before.files if before else (), problems=problems)

        return self._update(session_id, "clip_files", ClipFilesDocument, update)

    def replace_files(self, session_id: str, files: tuple[StoredClip, ...]) -> ClipFilesDocument:
        """Write anew which files are there, after a repair found out."""

        def update(before: ClipFilesDocument | None) -> ClipFilesDocument:
            problems = before.problems if before else ()
            return ClipFilesDocument(session_id=session_id, files=files, problems=problems)

        return self._update(session_id, "clip_files", ClipFilesDocument, update)

    def _path(self, session_id: str, name: str) -> str:
        return f"{SESSIONS}{session_id}/{name}.json"

    def _read(self, session_id: str, name: str, model: type[DocumentT]) -> DocumentT | None:
        content = self._store.read_document(self._path(session_id, name))
        return None if content is None else self._parse(session_id, name, model, content)

    def _parse(self, session_id: str, name: str, model: type[DocumentT], content: bytes) -> DocumentT:
        try:
            document = model.model_validate_json(unseal(content))
        except (ValidationError, ValueError):
            document = None
        if document is None or getattr(document, "session_id", session_id) != session_id:
            raise StorageError(
                f"{self._path(session_id, name)} in {self._store.uri} is damaged. "
                f"Run `ut-clips verify` to see what else is, and `ut-clips repair --session {session_id}`."
            )
        return document

    def _update(
        self,
        session_id: str,
        name: str,
        model: type[DocumentT],
        update: Callable[[DocumentT | None], DocumentT],
    ) -> DocumentT:
        written: list[DocumentT] = []

        def apply(content: bytes | None) -> bytes:
            before = None if content is None else self._parse(session_id, name, model, content)
            written[:] = [update(before)]
            return seal(written[0].model_dump_json(indent=1).encode())

        self._store.update_document(self._path(session_id, name), apply)
        return written[0]
