"""Whether an S3 service honours the conditions that the archive's safety rests on, and what killed uploads left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ut_clips_dagster.storage.s3_failures import REFUSED, status
from ut_clips_dagster.storage.store import crc32c_of

ABANDONED_AFTER = timedelta(days=1)
SENT_IN_PARTS = ("clips/", "clip_metadata/", "clip_media/", "clip_transcripts/", "session_transcripts/")
"""Where the archive's own uploads in parts are, below its prefix: at a bucket's root others have theirs, too."""
OTHER_ETAG = f'"{"0" * 32}"'
CONTENT = b"The archive can be written.\n"


def ignored_conditions(client: Any, marker: dict[str, str]) -> str:
    """Which condition of a write is ignored; empty when all are honoured.

    Args:
        client: boto3's, of S3.
        marker: Bucket and key of an object to try it on; it stays.

    Raises:
        ClientError: the marker cannot be written.
    """
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("If-None-Match of PutObject", lambda: _refused(lambda: _put(client, marker, IfNoneMatch="*"))),
        ("If-Match of PutObject", lambda: _refused(lambda: _put(client, marker, IfMatch=OTHER_ETAG))),
        ("If-None-Match of CompleteMultipartUpload", lambda: _refused_in_parts(client, marker)),
    )
    _refused(lambda: _put(client, marker, IfNoneMatch="*"))  # from here on it is there
    return next((name for name, is_refused in checks if not is_refused()), "")


def abort_abandoned(client: Any, bucket: str, prefix: str) -> None:
    """Abort uploads in parts that were begun more than a day ago: their parts cost, and nobody completes them.

    Only the archive's own. Left to the bucket's lifecycle rules where they cannot be listed or aborted, for whatever
    reason: clips can be stored all the same.
    """
    now = datetime.now(timezone.utc)
    ours = tuple(prefix + place for place in SENT_IN_PARTS)
    with suppress(ClientError, BotoCoreError):
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", []):
                if upload["Key"].startswith(ours) and now - upload["Initiated"] > ABANDONED_AFTER:
                    with suppress(ClientError):  # completed or aborted by another run meanwhile
                        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _refused(write: Callable[[], object]) -> bool:
    try:
        write()
    except ClientError as error:
        if status(error) in REFUSED:
            return True
        raise
    return False


def _put(client: Any, marker: dict[str, str], **condition: str) -> None:
    client.put_object(**marker, Body=CONTENT, ChecksumCRC32C=crc32c_of([CONTENT]), **condition)


def _refused_in_parts(client: Any, marker: dict[str, str]) -> bool:
    crc32c = crc32c_of([CONTENT])
    kind = {"ChecksumType": "FULL_OBJECT"}
    begun = client.create_multipart_upload(**marker, ChecksumAlgorithm="CRC32C", **kind)
    upload = {**marker, "UploadId": begun["UploadId"]}
    try:
        part = client.upload_part(**upload, PartNumber=1, Body=CONTENT, ChecksumCRC32C=crc32c)
        parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32C": crc32c}]
        return _refused(
            lambda: client.complete_multipart_upload(
                **upload, **kind, MultipartUpload={"Parts": parts}, ChecksumCRC32C=crc32c, IfNoneMatch="*"
            )
        )
    finally:
        with suppress(ClientError):
            client.abort_multipart_upload(**upload)
