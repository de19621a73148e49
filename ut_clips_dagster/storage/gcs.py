"""The archive in Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed, RetryError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

from ut_clips_dagster.errors import StorageConflictError, StorageError
from ut_clips_dagster.storage.store import DOCUMENT_CONFLICTS, CountedStream, ObjectInfo

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

CHUNK_BYTES = 8 * 1024 * 1024
"""Part of a resumable upload; a multiple of 256 KiB as GCS demands. One part is what is held in memory."""
TIMEOUT_S = 60.0
RETRY = DEFAULT_RETRY.with_timeout(120.0)
FAILURES = (GoogleAPIError, RequestException, InvalidResponse, DataCorruption)
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, PRECONDITION_FAILED = 401, 403, 404, 412


class _Readable:
    """A stream of chunks as the file that the client library reads its parts from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = bytearray()
        self._position = 0

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        while len(self._buffer) < size and (chunk := next(self._chunks, None)) is not None:
            self._buffer += chunk
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._position += len(data)
        return data

    def tell(self) -> int:
        """How many bytes were read."""
        return self._position


class GcsStore:
    """Writes by resumable upload with `if_generation_match=0`: an object appears whole or not at all."""

    def __init__(self, client: Client, bucket: str, prefix: str, retry: Retry = RETRY) -> None:
        self._retry = retry
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def uri(self) -> str:
        """See `Store`."""
        return f"gs://{self._bucket.name}/{self._prefix}".rstrip("/")

    def check_writable(self) -> None:
        """See `Store`; writes and leaves one small marker object."""
        with self._explained("write to"):
            self._blob(".writable").upload_from_string(b"", timeout=TIMEOUT_S, retry=self._retry)

    def put_clip(self, path: str, chunks: Iterable[bytes], content_type: str) -> ObjectInfo:
        """See `Store`."""
        stream = CountedStream(chunks)
        blob = self._blob(path)
        blob.content_type = content_type
        with self._explained(f"store {path} in"):
            try:
                if blob.exists(timeout=TIMEOUT_S, retry=self._retry):
                    return self._adopt(path, stream)
                self._upload(blob, stream)
            except FAILURES as error:
                if _status(_last(error)) == PRECONDITION_FAILED:
                    return self._adopt(path, stream)
                if stream.complete and self._holds(path, stream):  # the answer was lost, not the upload
                    return ObjectInfo(path, stream.size_bytes, stream.crc32c, adopted=True)
                raise
            if not self._holds(path, stream):
                raise StorageError(f"{path} did not arrive whole in {self.uri}; it is not recorded as stored.")
        return ObjectInfo(path, stream.size_bytes, stream.crc32c)

    def read_document(self, path: str) -> bytes | None:
        """See `Store`."""
        with self._explained(f"read {path} in"):
            return self._read(self._document(path))

    def update_document(self, path: str, update: Callable[[bytes | None], bytes]) -> bytes:
        """See `Store`; a generation precondition makes a lost update impossible."""
        with self._explained(f"write {path} in"):
            for _ in range(DOCUMENT_CONFLICTS):
                blob = self._document(path)
                present = self._read(blob)
                if present is not None and blob.generation is None:
                    raise StorageError(
                        f"{self.uri} does not say which generation of {path} it sent. Nothing was changed."
                    )
                content = update(present)
                try:
                    blob.upload_from_string(
                        content,
                        content_type="text/vtt" if path.endswith(".vtt") else "application/json",
                        if_generation_match=blob.generation if present is not None else 0,
                        timeout=TIMEOUT_S,
                        retry=self._retry,
                    )
                except PreconditionFailed:
                    continue  # another run, or our own repeated upload: read again and decide anew
                return content
        raise StorageError(f"Cannot write {path} in {self.uri}: other runs keep changing it. It is tried again.")

    def size_bytes(self, path: str) -> int | None:
        """See `Store`."""
        with self._explained(f"read {path} in"):
            blob = self._bucket.get_blob(self._prefix + path, timeout=TIMEOUT_S, retry=self._retry)
            return None if blob is None else int(blob.size)

    def checksum(self, path: str) -> str:
        """See `Store`; from the object's metadata."""
        with self._explained(f"read {path} in"):
            blob = self._blob(path)
            blob.reload(timeout=TIMEOUT_S, retry=self._retry)
            return str(blob.crc32c)

    def read(self, path: str) -> Iterator[bytes]:
        """See `Store`."""
        with self._explained(f"read {path} in"), self._blob(path).open("rb", chunk_size=CHUNK_BYTES) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store`; without a chunk size, one request."""
        with self._explained(f"read {path} in"):
            blob = self._document(path)
            end = start + length - 1
            return bytes(blob.download_as_bytes(start=start, end=end, timeout=TIMEOUT_S, retry=self._retry))

    def walk(self, prefix: str) -> Iterator[str]:
        """See `Store`."""
        with self._explained("list"):
            for blob in self._bucket.list_blobs(prefix=self._prefix + prefix, timeout=TIMEOUT_S, retry=self._retry):
                yield blob.name.removeprefix(self._prefix)

    def _blob(self, path: str) -> Blob:
        return self._bucket.blob(self._prefix + path, chunk_size=CHUNK_BYTES)

    def _document(self, path: str) -> Blob:
        """Without a chunk size: a download in chunks does not tell the generation that an update depends on."""
        return self._bucket.blob(self._prefix + path)

    def _upload(self, blob: Blob, stream: CountedStream) -> None:
        # No blob.open("wb"): garbage collection closes a writer that failed, and closing uploads what it still holds,
        # as the whole object. An upload that is given up here is never finished, so nothing appears under the name.
        try:
            blob.upload_from_file(
                _Readable(stream),
                content_type=blob.content_type,
                if_generation_match=0,
                timeout=TIMEOUT_S,
                checksum="crc32c",
                retry=self._retry,
            )
        except ValueError:  # the service kept less of a part than was sent, and the library cannot go back
            raise StorageError(f"The upload of {blob.name} to {self.uri} broke off. It is tried again.") from None

    def _adopt(self, path: str, stream: CountedStream) -> ObjectInfo:
        for _ in stream:
            """Read on: size and checksum of the whole clip decide whether it is the one that is there."""
        blob = self._bucket.get_blob(self._prefix + path, timeout=TIMEOUT_S, retry=self._retry)
        if blob is None:
            raise StorageError(f"{self.uri} refused {path} as existing, but it is not there. It is tried again.")
        if (blob.size, blob.crc32c) != (stream.size_bytes, stream.crc32c):
            raise StorageConflictError(f"{path} exists with other bytes in {self.uri}; it was left as it is.")
        return ObjectInfo(path, stream.size_bytes, stream.crc32c, adopted=True)

    def _holds(self, path: str, stream: CountedStream) -> bool:
        blob = self._bucket.get_blob(self._prefix + path, timeout=TIMEOUT_S, retry=self._retry)
        return blob is not None and (blob.size, blob.crc32c) == (stream.size_bytes, stream.crc32c)

    def _read(self, blob: Blob) -> bytes | None:
        try:
            return bytes(blob.download_as_bytes(timeout=TIMEOUT_S, retry=self._retry))
        except NotFound:
            return None

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (*FAILURES, GoogleAuthError) as error:
            error = _last(error)
            status = _status(error)
            if status in (UNAUTHORIZED, FORBIDDEN) or isinstance(error, GoogleAuthError):
                advice = "The credentials may not do that: grant them Storage Object User on the bucket"
            elif status == NOT_FOUND:
                advice = "The bucket or object does not exist: check UT_CLIPS_ARCHIVE"
            else:
                advice = "It is tried again by the sensors"
            raise StorageError(
                f"Cannot {what} {self.uri} ({status or type(error).__name__}). {advice}. Nothing stored was changed."
            ) from None  # the cause may hold a signed upload address


def _last(error: Exception) -> Exception:
    """What a RetryError failed with last."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(error, RetryError) and isinstance(cause, Exception) else error


def _status(error: Exception) -> int | None:
    """The HTTP status: the library's writer raises InvalidResponse, its other calls GoogleAPICallErrors."""
    code = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
    return int(code) if code is not None else None
