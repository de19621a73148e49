"""Reads and writes the documents of sessions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

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
from ut_clips_dagster.clock import is_future, not_ahead
from ut_clips_dagster.errors import DamagedDocumentError, StorageError
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.storage.store import Store

DocumentT = TypeVar("DocumentT", bound=Document)

SESSIONS = "sessions/"
CLIPS = "clips/"
SESSION, CLIP_LIST, CLIP_URLS, CLIP_FILES = "session", "clip_list", "clip_urls", "clip_files"
DOCUMENTS: Mapping[str, type[Document]] = {
    SESSION: SessionDocument,
    CLIP_LIST: ClipListDocument,
    CLIP_URLS: ClipUrlsDocument,
    CLIP_FILES: ClipFilesDocument,
}
PARALLEL_READS = 8
READ_AHEAD = 40 * PARALLEL_READS
ABSENT = b'{\n "absent": true\n}'
"""Payload of a document that was damaged and could not be rebuilt: as good as not there, and written like any other."""
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
    return payload.removesuffix(b"\n}") + f',\n "sha256": "{digest}"\n}}\n'.encode()


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


@dataclass(frozen=True)
class Inspection:
    """A session's documents, as far as they are whole."""

    record: SessionRecord
    present: frozenset[str]
    """Names of the documents that are there and whole."""
    damaged: tuple[str, ...]
    """Names of those whose content is not what was written."""


class SessionRecords:
    """The documents below `sessions/`. Every update merges, so that two runs on one session lose nothing."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = now_utc) -> None:
        self._store = store
        self._clock = clock

    def read(self, session_id: str) -> SessionRecord:
        """All documents of a session; those not written yet are None or empty.

        Raises:
            StorageError: a document cannot be read, or is damaged.
        """
        return SessionRecord(
            session_id=session_id,
            session=self._read(session_id, SESSION, SessionDocument),
            clip_list=self._read(session_id, CLIP_LIST, ClipListDocument),
            clip_urls=self._read(session_id, CLIP_URLS, ClipUrlsDocument) or ClipUrlsDocument(session_id=session_id),
            clip_files=self._read(session_id, CLIP_FILES, ClipFilesDocument)
            or ClipFilesDocument(session_id=session_id),
        )

    def read_all(self, session_ids: Iterable[str]) -> Iterator[tuple[str, SessionRecord | StorageError]]:
        """The documents of many sessions, in their order; where they cannot be read, why.

        Several at a time: in a bucket each of a session's four documents takes tens of milliseconds.
        """

        def read(session_id: str) -> tuple[str, SessionRecord | StorageError]:
            try:
                return session_id, self.read(session_id)
            except StorageError as error:
                return session_id, error

        left = iter(session_ids)
        with ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="documents") as pool:
            while some := list(islice(left, READ_AHEAD)):  # what is in the pool is waited for, even when interrupted
                yield from pool.map(read, some)

    def session(self, session_id: str) -> SessionDocument | None:
        """What the session list said of a session."""
        return self._read(session_id, SESSION, SessionDocument)

    def write_session(self, document: SessionDocument) -> None:
        """Keep what the session list says; `found_at` stays the first one's."""

        def update(before: SessionDocument | None) -> SessionDocument:
            found_at = not_ahead(before.found_at, document.found_at) if before else document.found_at
            return document.model_copy(update={"found_at": found_at})

        self._update(document.session_id, SESSION, SessionDocument, update)

    def write_listing(
        self, session_id: str, update: Callable[[ClipListDocument | None], ClipListDocument]
    ) -> ClipListDocument:
        """Write a new listing, made from the present one; a newer one written by another run stays.

        One that lies ahead is not newer: a clock was wrong when it was written.
        """

        def newest(before: ClipListDocument | None) -> ClipListDocument:
            after = update(before)
            is_newer = before and after.listed_at < before.listed_at and not is_future(before.listed_at, self._clock())
            return before if before and is_newer else after

        return self._update(session_id, CLIP_LIST, ClipListDocument, newest)

    def add_generation(self, session_id: str, generation: Generation) -> ClipUrlsDocument:
        """Write how a clip's generation went, in place of what is known of it."""

        def update(before: ClipUrlsDocument | None) -> ClipUrlsDocument:
            others = [g for g in before.clips if g.clip_uuid != generation.clip_uuid] if before else []
            return ClipUrlsDocument(session_id=session_id, clips=(*others, generation))

        return self._update(session_id, CLIP_URLS, ClipUrlsDocument, update)

    def add_file(self, session_id: str, stored: StoredClip) -> ClipFilesDocument:
        """Write that a clip is stored; a file of the same cut that another run recorded stays the one."""

        def update(before: ClipFilesDocument | None) -> ClipFilesDocument:
            files = before.files if before else ()
            problems = before.problems if before else ()
            if not any(f.clip_uuid == stored.clip_uuid and f.cut == stored.cut for f in files):
                files = (*files, stored)
            left = tuple(p for p in problems if p.clip_uuid != stored.clip_uuid)
            return ClipFilesDocument(session_id=session_id, files=files, problems=left)

        return self._update(session_id, CLIP_FILES, ClipFilesDocument, update)

    def set_problems(self, session_id: str, problems: tuple[ClipProblem, ...]) -> ClipFilesDocument:
        """Write why clips are not stored, in place of earlier reasons."""

        def update(before: ClipFilesDocument | None) -> ClipFilesDocument:
            return ClipFilesDocument(session_id=session_id, files=before.files if before else (), problems=problems)

        return self._update(session_id, CLIP_FILES, ClipFilesDocument, update)

    def forget_files(self, session_id: str, paths: frozenset[str]) -> ClipFilesDocument:
        """Take files out of the record, so that their clips are fetched anew; the objects stay where they are."""

        def update(before: ClipFilesDocument | None) -> ClipFilesDocument:
            before = before or ClipFilesDocument(session_id=session_id)
            left = tuple(f for f in before.files if f.storage_path not in paths)
            return before.model_copy(update={"files": left})

        return self._update(session_id, CLIP_FILES, ClipFilesDocument, update)

    def inspect(self, session_id: str) -> Inspection:
        """All documents of a session, and which of them are damaged, one read each.

        Raises:
            StorageError: the store cannot be read.
        """
        whole: dict[str, Document] = {}
        damaged = []
        for name, model in DOCUMENTS.items():
            content = self._store.read_document(self._path(session_id, name))
            if content is None:
                continue
            try:
                document = parse_document(session_id, model, content)
            except ValueError:
                damaged.append(name)
                continue
            if document is not None:
                whole[name] = document
        record = SessionRecord.empty(session_id).model_copy(update=whole)
        return Inspection(record, frozenset(whole), tuple(damaged))

    def mend(self, session_id: str, name: str, rebuilt: Document | None) -> None:
        """Write a rebuilt document where none is, or a damaged one; None: it cannot be rebuilt.

        A whole one that another run wrote meanwhile stays.
        """
        payload = ABSENT if rebuilt is None else payload_of(rebuilt)

        def update(content: bytes | None) -> bytes:
            try:
                if content is not None and parse_document(session_id, DOCUMENTS[name], content) is not None:
                    return content
            except ValueError:
                """Damaged: that is what is mended."""
            return seal(payload)

        self._store.update_document(self._path(session_id, name), update)

    def _path(self, session_id: str, name: str) -> str:
        return f"{SESSIONS}{session_id}/{name}.json"

    def _read(self, session_id: str, name: str, model: type[DocumentT]) -> DocumentT | None:
        content = self._store.read_document(self._path(session_id, name))
        return None if content is None else self._parse(session_id, name, model, content)

    def _parse(self, session_id: str, name: str, model: type[DocumentT], content: bytes) -> DocumentT | None:
        try:
            return parse_document(session_id, model, content)
        except ValueError:
            raise DamagedDocumentError(
                f"{self._path(session_id, name)} in {self._store.uri} is damaged. "
                f"Run `ut-clips verify` to see what else is, and `ut-clips repair --session {session_id}`."
            ) from None

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
            return seal(payload_of(written[0]))

        self._store.update_document(self._path(session_id, name), apply)
        return written[0]


def payload_of(document: Document) -> bytes:
    """A document as JSON, without its seal."""
    return document.model_dump_json(indent=1).encode()


def parse_document(session_id: str, model: type[DocumentT], content: bytes) -> DocumentT | None:
    """The document; None when it stands for one that could not be rebuilt.

    Raises:
        ValueError: it is damaged, or another session's (pydantic's ValidationError is a ValueError).
    """
    payload = unseal(content)
    if payload == ABSENT:
        return None
    document = model.model_validate_json(payload)
    if getattr(document, "session_id", None) != session_id:
        raise ValueError("another session's document")
    return document
