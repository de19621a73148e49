"""What the archive needs of a place to keep bytes; `LocalStore`, `GcsStore` and `S3Store` are the three there are."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import google_crc32c

from ut_clips_dagster.errors import NotAClipError

DOCUMENT_CONFLICTS = 50
"""Times that an update is begun anew because another writer came first: one that is slow among others loses often."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object as the store knows it; `path` is relative to the archive's root, with forward slashes."""

    path: str
    size_bytes: int
    crc32c: str
    """Castagnoli CRC of the content, big-endian, base64: the form GCS uses."""
    adopted: bool = False
    """The same bytes were there already: another run stored them, or one that was killed before it wrote so down."""


class Store(Protocol):
    """Keeps clips, which never change once there, and documents, which are replaced as a whole.

    Every method raises StorageError with a remedy when the place cannot be read or written.
    """

    @property
    def uri(self) -> str:
        """The archive's root: an absolute directory, or gs://bucket/prefix or s3://bucket/prefix."""

    def check_writable(self) -> None:
        """Raise StorageError unless objects can be written here: asked before anything is requested."""

    def put_clip(self, path: str, chunks: Iterable[bytes], content_type: str) -> ObjectInfo:
        """Store a stream under a name that does not exist yet, in constant memory.

        The name appears only when all bytes are there. The same bytes under that name are adopted.

        Raises:
            StorageConflictError: other bytes have that name; they are untouched.
        """

    def read_document(self, path: str) -> bytes | None:
        """The document's bytes, or None."""

    def update_document(self, path: str, update: Callable[[bytes | None], bytes]) -> bytes:
        """Replace a document by `update(present bytes)`, atomically against other processes; returns what was written.

        `update` may be called more than once.
        """

    def size_bytes(self, path: str) -> int | None:
        """Size of an object, or None when it is not there."""

    def checksum(self, path: str) -> str:
        """The store's own idea of an object's crc32c (base64), without a download."""

    def read(self, path: str) -> Iterator[bytes]:
        """The object's bytes, in chunks."""

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """So many bytes of the object from `start` on; fewer only at its end."""

    def walk(self, prefix: str) -> Iterator[str]:
        """Paths of all objects below a prefix."""


class CountedStream:
    """Counts and checksums the bytes that pass; iterate it again to go on where it stopped."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._crc = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        self.size_bytes = 0
        self.complete = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._crc.update(chunk)  # type: ignore[no-untyped-call]
            self.size_bytes += len(chunk)
            yield chunk
        if not self.size_bytes:
            raise NotAClipError("The clip's body is empty.")
        self.complete = True

    @property
    def crc32c(self) -> str:
        """Checksum of what has passed so far, base64."""
        return base64.b64encode(self._crc.digest()).decode()  # type: ignore[no-untyped-call]


def crc32c_of(chunks: Iterable[bytes]) -> str:
    """The crc32c of a stream, base64."""
    checksum = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    for chunk in chunks:
        checksum.update(chunk)  # type: ignore[no-untyped-call]
    return base64.b64encode(checksum.digest()).decode()  # type: ignore[no-untyped-call]
