"""Documents beside the four that every session has: what is made of stored clips, each kind of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from ut_clips_dagster.archive.records import (
    ABSENT,
    SESSIONS,
    DocumentT,
    parse_document,
    payload_of,
    seal,
)
from ut_clips_dagster.archive.verification import repair_of
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.store import Store


class SideDocuments(Generic[DocumentT]):
    """`sessions/<session>/<name>.json` of all sessions: versioned and sealed like the others, read on their own."""

    def __init__(self, store: Store, name: str, model: type[DocumentT]) -> None:
        self._store = store
        self._name = name
        self._model = model

    def path(self, session_id: str) -> str:
        """Where a session's document is, below the archive's root."""
        return f"{SESSIONS}{session_id}/{self._name}.json"

    def read(self, session_id: str) -> DocumentT | None:
        """The document, or None.

        Raises:
            StorageError: it cannot be read, or is damaged.
        """
        document, damaged = self.inspect(session_id)
        if damaged:
            raise self._damage(session_id)
        return document

    def inspect(self, session_id: str) -> tuple[DocumentT | None, bool]:
        """The document if it is there and whole, and whether it is damaged.

        Raises:
            StorageError: the store cannot be read.
        """
        content = self._store.read_document(self.path(session_id))
        if content is None:
            return None, False
        try:
            return parse_document(session_id, self._model, content), False
        except ValueError:
            return None, True

    def update(self, session_id: str, update: Callable[[DocumentT | None], DocumentT]) -> DocumentT:
        """Write what `update` makes of the present document; it may be called more than once.

        Raises:
            StorageError: it cannot be written, or the present one is damaged.
        """
        written: list[DocumentT] = []

        def apply(content: bytes | None) -> bytes:
            try:
                before = None if content is None else parse_document(session_id, self._model, content)
            except ValueError:
                raise self._damage(session_id) from None
            written[:] = [update(before)]
            return seal(payload_of(written[0]))

        self._store.update_document(self.path(session_id), apply)
        return written[0]

    def give_up(self, session_id: str) -> None:
        """Put a document that is as good as none in place of a damaged one; a whole one stays."""

        def apply(content: bytes | None) -> bytes:
            try:
                if content is not None and parse_document(session_id, self._model, content) is not None:
                    return content
            except ValueError:
                """Damaged: that is what is given up."""
            return seal(ABSENT)

        self._store.update_document(self.path(session_id), apply)

    def _damage(self, session_id: str) -> StorageError:
        return StorageError(f"{self.path(session_id)} in {self._store.uri} is damaged. Run `{repair_of(session_id)}`.")
