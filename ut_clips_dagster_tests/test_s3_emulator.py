"""What each emulator honours of itself, without our gateway: tests of lost updates mean nothing otherwise."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from botocore.exceptions import ClientError

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.s3 import S3Store
from ut_clips_dagster_tests.s3_emulator import S3Emulator

HELLO_CRC32C = "mnG7TA=="
REFUSED, STORED = 412, 200


@pytest.fixture(params=["moto", "ministack"])
def emulator(request: pytest.FixtureRequest) -> S3Emulator:
    return request.getfixturevalue(f"{request.param}_emulator")


@pytest.fixture
def place(emulator: S3Emulator) -> dict[str, str]:
    bucket = f"honours-{uuid.uuid4().hex[:8]}"
    emulator.client(emulator.backend_url).create_bucket(Bucket=bucket)
    return {"Bucket": bucket, "Key": "key"}


def status(call: Any, **arguments: Any) -> int:
    try:
        return int(call(**arguments)["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def test_conditions_of_a_put_are_honoured_by_both(emulator: S3Emulator, place: dict[str, str]) -> None:
    put = emulator.client(emulator.backend_url).put_object
    assert [status(put, **place, Body=b"a", IfNoneMatch="*") for _ in range(2)] == [STORED, REFUSED]
    etag = emulator.client(emulator.backend_url).head_object(**place)["ETag"]
    assert [status(put, **place, Body=b"b", IfMatch=etag) for _ in range(2)] == [STORED, REFUSED]


def test_the_condition_of_completing_parts_is_honoured_by_both(emulator: S3Emulator, place: dict[str, str]) -> None:
    client = emulator.client(emulator.backend_url)
    statuses = []
    for _ in range(2):
        upload = {**place, "UploadId": client.create_multipart_upload(**place)["UploadId"]}
        part = {"PartNumber": 1, "ETag": client.upload_part(**upload, PartNumber=1, Body=b"a")["ETag"]}
        parts = {"Parts": [part]}
        statuses.append(status(client.complete_multipart_upload, **upload, MultipartUpload=parts, IfNoneMatch="*"))
    assert statuses == [STORED, REFUSED]


def test_checksums_are_told_by_both_and_judged_by_ministack(emulator: S3Emulator, place: dict[str, str]) -> None:
    client = emulator.client(emulator.backend_url)
    crc32c = {"ChecksumAlgorithm": "CRC32C", "ChecksumCRC32C": HELLO_CRC32C}
    assert status(client.put_object, **place, Body=b"hello", **crc32c) == STORED
    assert client.head_object(**place, ChecksumMode="ENABLED")["ChecksumCRC32C"] == HELLO_CRC32C
    judged = status(client.put_object, **place, Body=b"hullo", **crc32c)
    assert judged == {"moto": STORED, "ministack": 400}[emulator.kind]


def test_the_checksum_of_the_whole_is_known_to_moto_alone(emulator: S3Emulator, place: dict[str, str]) -> None:
    client = emulator.client(emulator.backend_url)
    kind = {"ChecksumType": "FULL_OBJECT"}
    begun = client.create_multipart_upload(**place, ChecksumAlgorithm="CRC32C", **kind)
    upload = {**place, "UploadId": begun["UploadId"]}
    part = client.upload_part(**upload, PartNumber=1, Body=b"hello", ChecksumCRC32C=HELLO_CRC32C)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32C": HELLO_CRC32C}]}
    whole = {"ChecksumCRC32C": HELLO_CRC32C, **kind}
    completed = status(client.complete_multipart_upload, **upload, MultipartUpload=parts, **whole)
    assert completed == {"moto": STORED, "ministack": 400}[emulator.kind]
    if emulator.kind == "moto":
        assert client.head_object(**place, ChecksumMode="ENABLED")["ChecksumCRC32C"] == HELLO_CRC32C


def test_a_real_server_that_ignores_conditions_is_refused(moto_emulator: S3Emulator, tmp_path: Path) -> None:
    """rclone's: the second create answers 200, and the first object is gone."""
    (tmp_path / "bucket").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        str(Path(sys.executable).parent / "rclone"),
        "serve",
        "s3",
        "--addr",
        address,
        "--config",
        "/dev/null",
        str(tmp_path),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host, _, port = address.partition(":")
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    break
            time.sleep(0.05)
        client = moto_emulator.client(f"http://{address}")
        with pytest.raises(StorageError, match="ignores If-None-Match of PutObject"):
            S3Store(client, "bucket", "archive").check_writable()
    finally:
        server.terminate()
        server.wait(10)


def test_the_known_value_is_castagnoli() -> None:
    assert base64.b64encode(google_crc32c.value(b"hello").to_bytes(4, "big")).decode() == HELLO_CRC32C
