"""Copies an archive to another place, whole and verified; run again, it goes on where it stopped and catches up.

Order of writing as everywhere: a session's files, then its documents, then the tables. A session's documents are read
before its files are listed: as files are stored before documents name them, what is copied is whole also while the
source is being written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from ut_clips_dagster.archive.records import CLIPS, SESSIONS, SessionRecords
from ut_clips_dagster.archive.table_copying import copy_table
from ut_clips_dagster.errors import StorageConflictError, StorageError
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.storage.store import CountedStream, Store

COPIED = "copied/"
"""Of each session, the documents as they were copied: one that was changed at its new place is not overwritten."""
REST = "rest"
"""What belongs to no session."""
FILES = (".mp4", ".jpg")
"""Never change once they are there; all else is a document."""
CONTENT_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}
LOG = "_delta_log"
DAMAGED = ".damaged-"
"""In the name of a table that a repair moved aside."""
PARALLEL = 8
GIVE_UP_AFTER = 20
"""Failed sessions: then it is a place that fails, and not a file."""


@dataclass
class Copied:
    """What was done, and what was not."""

    sessions: int = 0
    files: int = 0
    bytes: int = 0
    documents: int = 0
    skipped: int = 0
    """Files and documents that were there already."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows of each table."""
    kept: list[str] = field(default_factory=list)
    """What is otherwise at the new place, and was left so."""
    failed: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    """What the source holds by now and the new place does not."""

    @property
    def is_whole(self) -> bool:
        """Whether the new place holds all that the old one does."""
        return not (self.kept or self.failed or self.lacking)

    def add(self, other: Copied) -> None:
        """Count what was done for a session."""
        self.sessions += other.sessions
        self.files += other.files
        self.bytes += other.bytes
        self.documents += other.documents
        self.skipped += other.skipped
        self.kept += other.kept
        self.failed += other.failed


class ArchiveCopy:
    """From one store to another."""

    def __init__(self, source: Store, target: Store) -> None:
        self._source = source
        self._target = target
        self._records = SessionRecords(source)

    def run(self, watch: Callable[[Copied, int], None] = lambda *_: None) -> Copied:
        """Copy what is not there.

        Args:
            watch: is told after each session what is done, and of how many sessions.

        Raises:
            StorageError: there is nothing to copy, or one of the two places cannot be used.
        """
        sessions, studies, tables, rest = self._survey()
        if not sessions and not tables:
            raise StorageError(f"There is no archive in {self._source.uri}: nothing was copied.")
        self._target.check_writable()
        copied = Copied()
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="copy") as pool:
            for done in pool.map(partial(self._copy_session, studies), sorted(sessions)):
                copied.add(done)
                watch(copied, len(sessions))
                if len(copied.failed) > GIVE_UP_AFTER:
                    raise StorageError(f"{copied.failed[-1]} {GIVE_UP_AFTER} others failed; run it again to go on.")
        copied.add(self._copy_documents(REST, rest))
        changed = {path.split("/")[1] for path in copied.kept if path.startswith(SESSIONS)}
        for table in sorted(tables):
            copied.rows[table] = copy_table(table, self._source.uri, self._target.uri, keep=changed)
        copied.lacking = self._lacking(tables)
        return copied

    def _survey(self) -> tuple[set[str], set[str], set[str], list[str]]:
        """Sessions, studies, tables, and the documents of no session."""
        sessions, studies, tables, paths = set(), set(), set(), []
        for path in self._source.walk(""):
            parts = path.split("/")
            if path.startswith(CLIPS) and len(parts) > 3:  # noqa: PLR2004 - clips/study/session/file
                studies.add(parts[1])
                sessions.add(parts[2])
            elif path.startswith(SESSIONS) and len(parts) > 2:  # noqa: PLR2004 - sessions/session/document
                sessions.add(parts[1])
            elif LOG in parts:
                if DAMAGED not in parts[0]:
                    tables.add(parts[0])
            elif len(parts) > 1 and path.endswith(".json") and not path.startswith(COPIED):
                paths.append(path)
        return sessions, studies, tables, [path for path in paths if path.split("/")[0] not in tables]

    def _copy_session(self, studies: Iterable[str], session_id: str) -> Copied:
        done = Copied(sessions=1)
        try:
            documents = self._read_all(self._source.walk(f"{SESSIONS}{session_id}/"))
            paths = [path for study in studies for path in self._source.walk(f"{CLIPS}{study}/{session_id}/")]
            kinds = self._content_types(session_id)
            for path in paths:
                if path.endswith(FILES):
                    self._copy_file(path, kinds.get(path) or CONTENT_TYPES[path[path.rindex(".") :]], done)
            beside = self._read_all(path for path in paths if not path.endswith(FILES))
            done.add(self._copy_documents(session_id, {**beside, **documents}))
        except StorageError as error:
            done.failed.append(str(error))
        return done

    def _copy_file(self, path: str, content_type: str, done: Copied) -> None:
        crc32c = self._source.checksum(path)
        present = self._target.size_bytes(path)
        if present is not None:
            same = present == self._source.size_bytes(path) and self._target.checksum(path) == crc32c
            done.skipped += same
            if not same:
                done.kept.append(path)
            return
        try:
            info = self._target.put_clip(path, _checked(self._source, path, crc32c), content_type)
        except StorageConflictError:
            done.kept.append(path)
            return
        done.files += 1
        done.bytes += info.size_bytes

    def _copy_documents(self, unit: str, documents: dict[str, bytes] | list[str]) -> Copied:
        done = Copied()
        contents = documents if isinstance(documents, dict) else self._read_all(documents)
        missing = {p: c for p, c in contents.items() if self._target.read_document(p) != c}
        done.skipped = len(contents) - len(missing)
        if not missing:
            return done
        known = self._announce(unit, missing)
        for path, content in missing.items():
            try:
                self._target.update_document(path, partial(_unless_changed, path, content, known.get(path, [])))
            except _ChangedError:
                done.kept.append(path)
            else:
                done.documents += 1
        return done

    def _announce(self, unit: str, contents: dict[str, bytes]) -> dict[str, list[str]]:
        """Write down what is about to be copied, before it is: a copy that was killed knows its own hand again."""
        known: dict[str, list[str]] = {}

        def update(content: bytes | None) -> bytes:
            known.clear()
            known.update(json.loads(content) if content else {})
            known.update({p: [*dict.fromkeys([*known.get(p, []), _digest(c)])] for p, c in contents.items()})
            return json.dumps(known, indent=1).encode()

        self._target.update_document(f"{COPIED}{unit}.json", update)
        return known

    def _read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        contents = ((path, self._source.read_document(path)) for path in paths)
        return {path: content for path, content in contents if content is not None}

    def _content_types(self, session_id: str) -> dict[str, str]:
        if not is_uuid(session_id):  # a directory of somebody else's
            return {}
        files = self._records.inspect(session_id).record.clip_files.files
        return {file.storage_path: file.content_type for file in files if file.content_type}

    def _lacking(self, tables: set[str]) -> list[str]:
        """Paths of the source that the target does not hold now that all is done."""
        there = {path for path in self._target.walk("") if path.split("/")[0] not in tables}
        return [path for top in (CLIPS, SESSIONS) for path in self._source.walk(top) if path not in there]


class _ChangedError(Exception):
    """The document was changed at its new place."""


def _unless_changed(path: str, content: bytes, copied: list[str], present: bytes | None) -> bytes:
    if present is not None and present != content and _digest(present) not in copied:
        raise _ChangedError(path)
    return content


def _checked(source: Store, path: str, crc32c: str) -> Iterator[bytes]:
    """The file's bytes; an error at their end where they are not what the source says: then nothing is stored."""
    stream = CountedStream(source.read(path))
    yield from stream
    if stream.crc32c != crc32c:
        raise StorageError(
            f"{path} in {source.uri} changed while it was read: run `ut-clips verify --read-data` there."
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
