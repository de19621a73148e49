"""Copies an archive to another place, whole and verified; run again, it goes on where it stopped and catches up.

Order of writing as everywhere: a session's files, then its documents, then the tables. A session's documents are read
before its files are listed: as files are stored before documents name them, what is copied is whole also while the
source is being written.

A file is whole when it is what the documents record of it; of one that they do not name, the place's own checksum is
all there is. What fails is named and costs its session alone: all else of that is copied but documents and rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from pydantic import TypeAdapter

from ut_clips_dagster.archive.documents import Document, RecordedFile
from ut_clips_dagster.archive.records import CLIPS, SESSIONS, parse_document
from ut_clips_dagster.archive.table_copying import copy_table
from ut_clips_dagster.archive.verification import GIVE_UP_AFTER
from ut_clips_dagster.errors import ClipsError, StorageConflictError, StorageError
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.storage.store import CountedStream, Store, crc32c_of

COPIED = "copied/"
"""Of each session, the documents as they were copied: one that was changed at its new place is not overwritten."""
REST = "rest"
"""What belongs to no session."""
FILES = (".mp4", ".jpg")
"""Never change once they are there; all else is read as a whole."""
DOCUMENT = ".json"
CONTENT_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}
LOG = "_delta_log"
HIDDEN = "."
"""What tries a place out, and temporary files."""
DAMAGED = ".damaged-"
"""In the name of a table that a repair moved aside."""
PARALLEL = 8
NONE_RECORDED: Mapping[str, RecordedFile] = {}
_DIGESTS = TypeAdapter(dict[str, list[str]])
REMEDY = "Run `ut-clips verify --read-data` there, then `ut-clips repair`."


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
    """What could not be copied, and why."""
    failed_sessions: set[str] = field(default_factory=set)
    """Whose it is: of them neither documents nor rows are written."""
    as_read: dict[str, str] = field(default_factory=dict)
    """Of each session, a digest of its documents as they were read."""
    lacking: list[str] = field(default_factory=list)
    """What the source holds by now and the new place does not; a session's directory where documents changed."""

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
        self.failed_sessions |= other.failed_sessions
        self.as_read.update(other.as_read)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Name what fails in here, and go on."""
        try:
            yield
        except ClipsError as error:
            self.failed.append(str(error))


class ArchiveCopy:
    """From one store to another.

    Args:
        source: the archive.
        target: another place, empty or with what an earlier copy left.
        models: a session's documents by their names: what they record is the measure of its files.
    """

    def __init__(self, source: Store, target: Store, models: Mapping[str, type[Document]]) -> None:
        self._source = source
        self._target = target
        self._models = models

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
        copied, failed_in_a_row = Copied(), 0
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="copy") as pool:
            for done in pool.map(partial(self._copy_session, studies), sorted(sessions)):
                copied.add(done)
                watch(copied, len(sessions))
                failed_in_a_row = failed_in_a_row + 1 if done.failed else 0
                if failed_in_a_row > GIVE_UP_AFTER:
                    raise StorageError(
                        f"{done.failed[-1]} So did the {GIVE_UP_AFTER} sessions before; run it again to go on."
                    )
        with copied.attempt():
            copied.add(self._copy_documents(REST, self._read_all(rest, copied)))
        keep = {path.split("/")[1] for path in copied.kept if path.startswith(SESSIONS)} | copied.failed_sessions
        for table in sorted(tables):
            copied.rows[table] = copy_table(table, self._source.uri, self._target.uri, keep=keep)
        with copied.attempt():
            self._find_lacking(tables, copied)
        return copied

    def _survey(self) -> tuple[set[str], set[str], set[str], list[str]]:
        """Sessions, studies, tables, and the documents of no session."""
        sessions, studies, tables, paths = set(), set(), set(), []
        for path in self._source.walk(""):
            parts = path.split("/")
            if session_id := _session_of(path):
                sessions.add(session_id)
                if path.startswith(CLIPS):
                    studies.add(parts[1])
            elif path.startswith(HIDDEN):
                continue
            elif LOG in parts:
                if DAMAGED not in parts[0]:
                    tables.add(parts[0])
            elif len(parts) > 1 and path.endswith(DOCUMENT) and not path.startswith(COPIED):
                paths.append(path)
        return sessions, studies, tables, [path for path in paths if path.split("/")[0] not in tables]

    def _copy_session(self, studies: Iterable[str], session_id: str) -> Copied:
        done = Copied(sessions=1)
        with done.attempt():
            own = list(self._source.walk(f"{SESSIONS}{session_id}/"))
            documents = self._read_all((path for path in own if path.endswith(DOCUMENT)), done)
            done.as_read[session_id] = _digest_of(documents)
            recorded = self._recorded(session_id, documents, done)
            listed = [path for study in studies for path in self._source.walk(f"{CLIPS}{study}/{session_id}/")]
            named = dict.fromkeys([*(path for path in own if not path.endswith(DOCUMENT)), *listed, *recorded])
            for path in named:
                if path.endswith(FILES):
                    with done.attempt():
                        self._copy_file(path, recorded.get(path), done)
            texts = self._read_all((path for path in named if not path.endswith(FILES)), done, recorded)
            if not done.failed:
                done.add(self._copy_documents(session_id, {**texts, **documents}))
        if done.failed:
            done.failed_sessions.add(session_id)
        return done

    def _recorded(self, session_id: str, documents: dict[str, bytes], done: Copied) -> dict[str, RecordedFile]:
        recorded: dict[str, RecordedFile] = {}
        for name, model in self._models.items() if is_uuid(session_id) else ():  # else a directory of somebody else's
            path = f"{SESSIONS}{session_id}/{name}{DOCUMENT}"
            try:
                document = parse_document(session_id, model, documents[path]) if path in documents else None
            except ValueError:
                done.failed.append(str(self._damage(path, "damaged")))
            else:
                recorded.update((file.path, file) for file in (document.recorded() if document else ()))
        return recorded

    def _copy_file(self, path: str, recorded: RecordedFile | None, done: Copied) -> None:
        file = recorded or self._as_it_is(path)
        present = self._target.size_bytes(path)
        if present is not None:
            same = present == file.size_bytes and self._target.checksum(path) == file.crc32c
            done.skipped += same
            if not same:
                done.kept.append(path)
            return
        self._check_size(file, self._source.size_bytes(path))
        kind = file.content_type or CONTENT_TYPES[path[path.rindex(".") :]]
        try:
            info = self._target.put_clip(path, self._checked(file), kind)
        except StorageConflictError:
            done.kept.append(path)
            return
        done.files += 1
        done.bytes += info.size_bytes

    def _as_it_is(self, path: str) -> RecordedFile:
        """A file that no document names."""
        return RecordedFile(path, self._source.size_bytes(path) or 0, self._source.checksum(path))

    def _check_size(self, file: RecordedFile, size_bytes: int | None) -> None:
        if not size_bytes:
            raise self._damage(file.path, "missing" if size_bytes is None else "empty")
        if size_bytes != file.size_bytes:
            raise self._damage(file.path, f"{size_bytes} bytes long, recorded are {file.size_bytes}")

    def _check_text(self, file: RecordedFile, content: bytes | None) -> None:
        self._check_size(file, None if content is None else len(content))
        if content is not None and crc32c_of([content]) != file.crc32c:
            raise self._damage(file.path, "not what was stored there")

    def _checked(self, file: RecordedFile) -> Iterator[bytes]:
        """The file's bytes; an error at their end where they are not what they should be: then nothing is stored."""
        stream = CountedStream(self._source.read(file.path))
        yield from stream
        if stream.crc32c != file.crc32c:
            raise self._damage(file.path, "not what was stored there")

    def _damage(self, path: str, how: str) -> StorageError:
        return StorageError(f"{path} in {self._source.uri} is {how}. {REMEDY}")

    def _copy_documents(self, unit: str, contents: dict[str, bytes]) -> Copied:
        done = Copied()
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
            known.update(_digests(content))
            known.update({p: [*dict.fromkeys([*known.get(p, []), _digest(c)])] for p, c in contents.items()})
            return json.dumps(known, indent=1).encode()

        self._target.update_document(f"{COPIED}{unit}.json", update)
        return known

    def _read_all(
        self, paths: Iterable[str], done: Copied, recorded: Mapping[str, RecordedFile] = NONE_RECORDED
    ) -> dict[str, bytes]:
        contents = {}
        for path in paths:
            with done.attempt():
                content = self._source.read_document(path)
                if path in recorded:
                    self._check_text(recorded[path], content)
                if content is not None:
                    contents[path] = content
        return contents

    def _find_lacking(self, tables: set[str], copied: Copied) -> None:
        """Name what the source holds now that all is done and the target does not, but for what failed.

        Documents are read once more, as tables were read after them: of a session that was written since its turn the
        target holds newer rows than documents. In a bucket that is one GET for each document.
        """
        there = {path for path in self._target.walk("") if path.split("/")[0] not in tables}
        documents: dict[str, list[str]] = {}
        for path in (path for top in (CLIPS, SESSIONS) for path in self._source.walk(top)):
            session_id = _session_of(path)
            if session_id in copied.failed_sessions:
                continue
            if path not in there:
                copied.lacking.append(path)
            elif session_id in copied.as_read and path.startswith(SESSIONS) and path.endswith(DOCUMENT):
                documents.setdefault(session_id, []).append(path)
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="compare") as pool:
            for session_id, digest in zip(documents, pool.map(self._digest_now, documents.values()), strict=True):
                if digest != copied.as_read[session_id]:
                    copied.lacking.append(f"{SESSIONS}{session_id}/")

    def _digest_now(self, paths: Iterable[str]) -> str:
        contents = ((path, self._source.read_document(path)) for path in paths)
        return _digest_of({path: content for path, content in contents if content is not None})


class _ChangedError(Exception):
    """The document was changed at its new place."""


def _unless_changed(path: str, content: bytes, copied: list[str], present: bytes | None) -> bytes:
    if present is not None and present != content and _digest(present) not in copied:
        raise _ChangedError(path)
    return content


def _session_of(path: str) -> str | None:
    """The session that a path belongs to, if any."""
    parts = path.split("/")
    if path.startswith(CLIPS) and len(parts) > 3:  # noqa: PLR2004 - clips/study/session/file
        return parts[2]
    if path.startswith(SESSIONS) and len(parts) > 2:  # noqa: PLR2004 - sessions/session/document
        return parts[1]
    return None


def _digests(announced: bytes | None) -> dict[str, list[str]]:
    """What an earlier copy wrote down; nothing where that is damaged: then what it copied is left as it is."""
    with suppress(ValueError):
        return _DIGESTS.validate_json(announced or b"{}")
    return {}


def _digest_of(documents: Mapping[str, bytes]) -> str:
    return _digest(b"".join(path.encode() + content for path, content in sorted(documents.items())))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
