"""The archive in Amazon S3, or with a service that speaks its API and honours its conditions.

Needs boto3, of the extra `[s3]`: imported only where an archive is at s3://.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError

from ut_clips_dagster.errors import StorageConflictError, StorageError
from ut_clips_dagster.storage.s3_conditions import abort_abandoned, ignored_conditions
from ut_clips_dagster.storage.s3_failures import CONFLICT, NOT_FOUND, REFUSED, UNSATISFIABLE, advice, code, status
from ut_clips_dagster.storage.store import DOCUMENT_CONFLICTS, CountedStream, ObjectInfo, crc32c_of

CHUNK_BYTES = 8 * 1024 * 1024
"""Part of an upload and of a download, and what is held in memory. S3 takes 10,000 parts: 78 GiB."""
PUT_CONFLICTS = 5
READ_ATTEMPTS = 4
FAILURES = (ClientError, BotoCoreError)
BROKEN_BODIES = (HTTPClientError, IncompleteReadError)
"""An answer that broke off: boto3 repeats requests, and not what it hands out as a stream."""


class S3Store:
    """Writes with If-None-Match, in parts where a clip is large: an object appears whole, once, or not at all."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @classmethod
    def at(cls, client: Any, root: str) -> S3Store:
        """The store that UT_CLIPS_ARCHIVE names: s3://bucket/prefix."""
        parts = urlsplit(root)
        return cls(client, parts.netloc, parts.path)

    @property
    def uri(self) -> str:
        """See `Store`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def check_writable(self) -> None:
        """See `Store`; leaves one small marker object, and aborts uploads that killed runs left a day ago.

        A service that ignores a condition says so nowhere, and stores: each kind is tried on the marker.
        """
        with self._explained("write to"):
            marker = self._place(".writable")
            if ignored := ignored_conditions(self._client, marker):
                raise StorageError(
                    f"{self.uri} ignores {ignored}: runs at the same time would overwrite each other's clips and "
                    "rows. Set UT_CLIPS_ARCHIVE to a service that honours conditional writes, as Amazon S3 does, or "
                    "to a directory. Nothing was archived."
                )
            abort_abandoned(self._client, self._bucket, self._prefix)

    def put_clip(self, path: str, chunks: Iterable[bytes], content_type: str) -> ObjectInfo:
        """See `Store`."""
        stream = CountedStream(chunks)
        with self._explained(f"store {path} in"):
            if self._head(path) is not None:
                return self._adopt(path, stream)
            try:
                self._upload(path, stream, content_type)
            except FAILURES as error:
                if status(error) in REFUSED and (status(error) != CONFLICT or self._head(path) is not None):
                    return self._adopt(path, stream)
                if stream.complete and self._facts(path) == (stream.size_bytes, stream.crc32c):
                    return ObjectInfo(path, stream.size_bytes, stream.crc32c, adopted=True)  # the answer was lost
                raise
            if self._facts(path) != (stream.size_bytes, stream.crc32c):
                raise StorageError(f"{path} did not arrive whole in {self.uri}; it is not recorded as stored.")
        return ObjectInfo(path, stream.size_bytes, stream.crc32c)

    def read_document(self, path: str) -> bytes | None:
        """See `Store`."""
        with self._explained(f"read {path} in"):
            return self._read(path)[0]

    def update_document(self, path: str, update: Callable[[bytes | None], bytes]) -> bytes:
        """See `Store`; the ETag as a condition makes a lost update impossible."""
        with self._explained(f"write {path} in"):
            for _ in range(DOCUMENT_CONFLICTS):
                present, etag = self._read(path)
                content = update(present)
                try:
                    self._put(path, content, "application/json", **_condition(etag))
                except ClientError as error:
                    if status(error) in REFUSED or (etag and code(error) == "NoSuchKey"):
                        continue  # another run, or our own repeated upload: read again and decide anew
                    raise
                return content
        raise StorageError(f"Cannot write {path} in {self.uri}: other runs keep changing it. It is tried again.")

    def size_bytes(self, path: str) -> int | None:
        """See `Store`."""
        with self._explained(f"read {path} in"):
            head = self._head(path)
            return None if head is None else int(head["ContentLength"])

    def checksum(self, path: str) -> str:
        """See `Store`; from the object's metadata, or read where something else put it there without one."""
        with self._explained(f"read {path} in"):
            head = self._client.head_object(**self._place(path), ChecksumMode="ENABLED")
            return self._crc32c(path, head)

    def read(self, path: str) -> Iterator[bytes]:
        """See `Store`; each chunk by a request of its own, which can be repeated."""
        with self._explained(f"read {path} in"):
            size = self._client.head_object(**self._place(path))["ContentLength"]
            for start in range(0, size, CHUNK_BYTES):
                yield self._get(path, Range=f"bytes={start}-{min(start + CHUNK_BYTES, size) - 1}")[0]

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store`."""
        with self._explained(f"read {path} in"):
            try:
                return self._get(path, Range=f"bytes={start}-{start + length - 1}")[0]
            except ClientError as error:
                if status(error) == UNSATISFIABLE:  # it begins behind the end
                    return b""
                raise

    def walk(self, prefix: str) -> Iterator[str]:
        """See `Store`."""
        with self._explained("list"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", []):
                    yield item["Key"].removeprefix(self._prefix)

    def _place(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + path}

    def _upload(self, path: str, stream: CountedStream, content_type: str) -> None:
        parts = _parts(stream)
        first = next(parts)
        if len(first) == CHUNK_BYTES:
            self._upload_parts(path, chain([first], parts), stream, content_type)
            return
        for left in reversed(range(PUT_CONFLICTS)):
            try:
                self._put(path, first, content_type, IfNoneMatch="*")
            except ClientError as error:
                if status(error) != CONFLICT or not left or self._head(path) is not None:
                    raise  # of a conflict S3 says: send it again
            else:
                return

    def _upload_parts(self, path: str, parts: Iterable[bytes], stream: CountedStream, content_type: str) -> None:
        kind = {"ChecksumType": "FULL_OBJECT"}
        begun = self._client.create_multipart_upload(
            **self._place(path), ContentType=content_type, ChecksumAlgorithm="CRC32C", **kind
        )
        upload = {**self._place(path), "UploadId": begun["UploadId"]}
        done = []
        try:
            for number, part in enumerate(parts, 1):
                crc32c = crc32c_of([part])
                answer = self._client.upload_part(**upload, PartNumber=number, Body=part, ChecksumCRC32C=crc32c)
                done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32C": crc32c})
            self._client.complete_multipart_upload(
                **upload,
                **kind,
                MultipartUpload={"Parts": done},
                ChecksumCRC32C=stream.crc32c,
                MpuObjectSize=stream.size_bytes,
                IfNoneMatch="*",
            )
        except BaseException:
            self._abort(upload)
            raise

    def _abort(self, upload: dict[str, str]) -> None:
        """Nothing appears of an upload that is not completed, but its parts are kept, and cost."""
        try:
            self._client.abort_multipart_upload(**upload)
        except FAILURES:
            return  # what failed before is told; `check_writable` aborts it a day later

    def _put(self, path: str, content: bytes, content_type: str, **condition: str) -> None:
        self._client.put_object(
            **self._place(path),
            Body=content,
            ContentType=content_type,
            ChecksumAlgorithm="CRC32C",
            ChecksumCRC32C=crc32c_of([content]),
            **condition,
        )

    def _adopt(self, path: str, stream: CountedStream) -> ObjectInfo:
        for _ in stream:
            """Read on: size and checksum of the whole clip decide whether it is the one that is there."""
        facts = self._facts(path)
        if facts is None:
            raise StorageError(f"{self.uri} refused {path} as existing, but it is not there. It is tried again.")
        if facts != (stream.size_bytes, stream.crc32c):
            raise StorageConflictError(f"{path} exists with other bytes in {self.uri}; it was left as it is.")
        return ObjectInfo(path, stream.size_bytes, stream.crc32c, adopted=True)

    def _facts(self, path: str) -> tuple[int, str] | None:
        """Size and crc32c of what is there."""
        head = self._head(path)
        return None if head is None else (int(head["ContentLength"]), self._crc32c(path, head))

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            return dict(self._client.head_object(**self._place(path), ChecksumMode="ENABLED"))
        except ClientError as error:
            if status(error) == NOT_FOUND:
                return None
            raise

    def _crc32c(self, path: str, head: dict[str, Any]) -> str:
        told = str(head.get("ChecksumCRC32C", ""))
        if not told or "-" in told or head.get("ChecksumType") == "COMPOSITE":  # none, or of the parts' checksums
            return crc32c_of(self.read(path))
        return told

    def _read(self, path: str) -> tuple[bytes | None, str]:
        try:
            return self._get(path)
        except ClientError as error:
            if code(error) == "NoSuchKey":
                return None, ""
            raise

    def _get(self, path: str, **part: str) -> tuple[bytes, str]:
        for left in reversed(range(READ_ATTEMPTS)):
            answer = self._client.get_object(**self._place(path), **part)
            try:
                return answer["Body"].read(), answer["ETag"]
            except BROKEN_BODIES:
                if not left:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            said = " ".join(filter(None, (str(status(error) or ""), code(error)))) or type(error).__name__
            raise StorageError(
                f"Cannot {what} {self.uri} ({said}). {advice(error)}. Nothing stored was changed."
            ) from None  # the cause may name keys or a signed address


def _condition(etag: str) -> dict[str, str]:
    return {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}


def _parts(stream: CountedStream) -> Iterator[bytes]:
    """A stream's bytes in parts of one size; the last may be shorter, and one of them is in memory."""
    buffer = bytearray()
    for chunk in stream:
        buffer += chunk
        while len(buffer) >= CHUNK_BYTES:
            part = bytes(memoryview(buffer)[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
            yield part
            del part
    if buffer:
        yield bytes(buffer)
