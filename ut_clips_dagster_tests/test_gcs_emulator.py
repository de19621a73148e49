"""The emulator behaves as Google Cloud Storage does where our storage code depends on it."""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google_crc32c
import httpx
import pyarrow as pa
import pytest
import requests
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from google.api_core import exceptions
from google.cloud.storage.exceptions import InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from .gcs_emulator import ANY, FaultKind, GcsEmulator
from .gcs_emulator.fixtures import gcs_bucket, gcs_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud import storage

__all__ = ["gcs_bucket", "gcs_emulator"]

MIB = 1024 * 1024
CHUNK = 256 * 1024
FAST = DEFAULT_RETRY.with_delay(initial=0.02, maximum=0.1).with_timeout(5)
CRC32C_OF_HELLO = "mnG7TA=="


@pytest.fixture
def bucket(gcs_emulator: GcsEmulator, gcs_bucket: str) -> storage.Bucket:
    return gcs_emulator.storage_client().bucket(gcs_bucket)


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def write(blob: storage.Blob, data: bytes, **options: Any) -> None:
    with blob.open("wb", chunk_size=CHUNK, if_generation_match=0, ignore_flush=True, retry=FAST, **options) as sink:
        for start in range(0, len(data), 100_000):
            sink.write(data[start : start + 100_000])


# The JSON API


def test_a_blob_comes_back_with_its_checksum(bucket: storage.Bucket) -> None:
    bucket.blob("clips/a b/ü.mp4").upload_from_string(b"hello", content_type="video/mp4", checksum="crc32c")
    blob = bucket.get_blob("clips/a b/ü.mp4")
    assert (blob.size, blob.crc32c, blob.content_type) == (5, CRC32C_OF_HELLO, "video/mp4")
    assert blob.download_as_bytes(checksum="crc32c") == b"hello"
    assert blob.download_as_bytes(start=1, end=3) == b"ell"
    assert bucket.get_blob("clips/none.mp4") is None
    assert [found.name for found in bucket.list_blobs(prefix="clips/a b/")] == ["clips/a b/ü.mp4"]
    blob.delete()
    assert not blob.exists()


@pytest.mark.parametrize("how", ["upload", "insert"])
def test_a_one_request_upload_does_not_overwrite(bucket: storage.Bucket, gcs_emulator: GcsEmulator, how: str) -> None:
    def put(data: bytes) -> None:
        if how == "upload":
            bucket.blob("once").upload_from_string(data, if_generation_match=0)
        else:
            params = {"uploadType": "media", "name": "once", "ifGenerationMatch": "0"}
            answer = httpx.post(f"{gcs_emulator.url}/upload/storage/v1/b/{bucket.name}/o", params=params, content=data)
            assert answer.status_code in (200, 412)
            if answer.status_code == 412:
                raise exceptions.PreconditionFailed("once")  # type: ignore[no-untyped-call]

    put(b"first")
    with pytest.raises(exceptions.PreconditionFailed):
        put(b"second")
    assert bucket.blob("once").download_as_bytes() == b"first"


def test_a_resumable_upload_arrives_in_chunks(bucket: storage.Bucket, gcs_emulator: GcsEmulator) -> None:
    data = os.urandom(5 * MIB)
    write(bucket.blob("big"), data, content_type="video/mp4")
    blob = bucket.get_blob("big")
    assert (blob.size, blob.crc32c, blob.content_type) == (len(data), crc32c(data), "video/mp4")
    assert blob.download_as_bytes() == data
    log = gcs_emulator.requests
    assert [record.name for record in log.of("upload_start")] == ["big"]
    assert {record.status for record in log.of("upload_chunk")} == {308}
    assert [record.status for record in log.of("upload_final")] == [200]
    assert {record.path for record in log.of("upload_start", "upload_chunk")} == {
        f"/upload/storage/v1/b/{bucket.name}/o",
    }


def test_a_resumable_upload_is_refused_at_its_start(bucket: storage.Bucket, gcs_emulator: GcsEmulator) -> None:
    bucket.blob("taken").upload_from_string(b"first")
    with pytest.raises(InvalidResponse, match="412"):
        write(bucket.blob("taken"), b"second" * CHUNK)
    assert [record.status for record in gcs_emulator.requests.of("upload_start")] == [412]
    assert bucket.blob("taken").download_as_bytes() == b"first"


def test_a_resumable_upload_is_refused_at_its_end(bucket: storage.Bucket) -> None:
    sink = bucket.blob("raced").open("wb", chunk_size=CHUNK, if_generation_match=0, retry=FAST)
    sink.write(b"x" * 2 * CHUNK)
    bucket.blob("raced").upload_from_string(b"another process")
    with pytest.raises(InvalidResponse, match="412"):
        sink.close()
    assert bucket.blob("raced").download_as_bytes() == b"another process"


def test_a_status_query_tells_what_is_here_and_stores_nothing(bucket: storage.Bucket) -> None:
    session = bucket.blob("asked").create_resumable_upload_session(if_generation_match=0)
    query = {"content-range": "bytes */*"}
    assert httpx.put(session, headers=query).status_code == 308
    httpx.put(session, headers={"content-range": f"bytes 0-{CHUNK + 9}/*"}, content=b"x" * (CHUNK + 10))
    answer = httpx.put(session, headers=query)
    assert (answer.status_code, answer.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert not bucket.blob("asked").exists()
    rest = {"content-range": f"bytes {CHUNK}-{CHUNK + 1}/{CHUNK + 2}"}
    assert httpx.put(session, headers=rest, content=b"yz").json()["size"] == str(CHUNK + 2)
    assert httpx.put(session, headers=query).status_code == 200
    assert bucket.blob("asked").download_as_bytes().endswith(b"xyz")


def test_a_wrong_checksum_stores_nothing(bucket: storage.Bucket) -> None:
    session = bucket.blob("wrong").create_resumable_upload_session()
    answer = httpx.put(session, headers={"x-goog-hash": f"crc32c={CRC32C_OF_HELLO}"}, content=b"jello")
    assert answer.status_code == 400
    assert not bucket.blob("wrong").exists()


# Faults


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("status_412", exceptions.PreconditionFailed),
        ("status_429", exceptions.TooManyRequests),
        ("status_503", exceptions.ServiceUnavailable),
        ("forbidden", exceptions.Forbidden),
        ("cut_upload", requests.ConnectionError),
        ("reset", requests.ConnectionError),
    ],
)
def test_a_fault_stores_nothing(
    bucket: storage.Bucket,
    gcs_emulator: GcsEmulator,
    kind: FaultKind,
    error: type[Exception],
) -> None:
    fault = gcs_emulator.faults.add(kind, contains=bucket.name)
    with pytest.raises(error):
        bucket.blob("x").upload_from_string(b"x" * MIB, retry=None)
    assert fault.hits == 1
    assert [record.fault for record in gcs_emulator.requests.of("upload_final")] == [kind]
    assert not bucket.blob("x").exists()
    bucket.blob("x").upload_from_string(b"x", retry=None)


@pytest.mark.parametrize(("kind", "status"), [("ambiguous", 503), ("ambiguous_reset", None)])
def test_an_ambiguous_answer_hides_a_stored_object(
    bucket: storage.Bucket,
    gcs_emulator: GcsEmulator,
    kind: FaultKind,
    status: int | None,
) -> None:
    gcs_emulator.faults.add(kind)
    with pytest.raises((exceptions.ServiceUnavailable, requests.ConnectionError)):
        bucket.blob("x").upload_from_string(b"stored", if_generation_match=0, retry=None)
    assert [record.status for record in gcs_emulator.requests.of("upload_final")] == [status]
    assert bucket.blob("x").download_as_bytes() == b"stored"


def test_a_retried_ambiguous_create_answers_412(bucket: storage.Bucket, gcs_emulator: GcsEmulator) -> None:
    gcs_emulator.faults.add("ambiguous")
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("x").upload_from_string(b"stored", if_generation_match=0, retry=FAST)
    assert bucket.get_blob("x").size == 6


@pytest.mark.parametrize("kind", ["status_429", "status_503", "cut_upload", "ambiguous", "ambiguous_reset", "reset"])
def test_a_resumable_upload_survives_a_transient_fault(
    bucket: storage.Bucket,
    gcs_emulator: GcsEmulator,
    kind: FaultKind,
) -> None:
    fault = gcs_emulator.faults.add(kind, on=None if kind.startswith("ambiguous") else {"upload_chunk"}, count=2)
    data = os.urandom(3 * CHUNK + 1)
    write(bucket.blob("x"), data)
    assert fault.hits == 2
    assert bucket.blob("x").download_as_bytes() == data


def test_a_cut_chunk_keeps_whole_quanta(bucket: storage.Bucket, gcs_emulator: GcsEmulator) -> None:
    session = bucket.blob("x").create_resumable_upload_session()
    gcs_emulator.faults.add("cut_upload")
    with pytest.raises(httpx.TransportError):
        httpx.put(session, content=io.BytesIO(b"x" * (3 * CHUNK)), headers={"content-length": str(3 * CHUNK)})
    answer = httpx.put(session, headers={"content-range": "bytes */*"})
    assert answer.headers["range"] == f"bytes=0-{CHUNK - 1}"


def test_a_fault_waits_for_its_turn(bucket: storage.Bucket, gcs_emulator: GcsEmulator) -> None:
    gcs_emulator.faults.add("forbidden", on=ANY, contains="secret", after=1, count=None)
    bucket.blob("secret").upload_from_string(b"1")
    for _ in range(2):
        with pytest.raises(exceptions.Forbidden):
            bucket.blob("secret").exists()
    assert not bucket.blob("other").exists()


# The XML API


@pytest.fixture
def xml(gcs_emulator: GcsEmulator, gcs_bucket: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{gcs_emulator.url}/{gcs_bucket}") as client:
        yield client


def test_xml_objects_are_put_read_copied_and_deleted_on_condition(xml: httpx.Client, gcs_bucket: str) -> None:
    create = {"x-goog-if-generation-match": "0"}
    first = xml.put("/a%2Fb", content=b"hello", headers=create)
    assert first.status_code == 200
    assert xml.put("/a/b", content=b"again", headers=create).status_code == 412
    assert xml.put("/a/b", content=b"jello", headers={"x-goog-if-generation-match": "1"}).status_code == 412
    assert xml.get("/a/b").headers["x-goog-generation"] == first.headers["x-goog-generation"]
    assert xml.get("/a/b", headers={"range": "bytes=1-3"}).content == b"ell"
    assert xml.get("/a/b", headers={"range": "bytes=9-"}).status_code == 416
    assert xml.head("/a/b").headers["content-length"] == "5"
    source = {"x-goog-copy-source": f"{gcs_bucket}/a%2Fb"}
    assert xml.put("/c", headers={**source, **create}).status_code == 200
    assert xml.put("/c", headers={**source, **create}).status_code == 412
    assert xml.get("/c").content == b"hello"
    assert xml.delete("/c").status_code == 204
    assert xml.delete("/c").status_code == xml.get("/c").status_code == 404


def test_xml_lists_are_paged(xml: httpx.Client) -> None:
    for name in ("p/1", "p/2", "p/d/3", "q"):
        xml.put(f"/{name}", content=b"x")
    seen: list[str] = []
    token: dict[str, str] = {}
    for _ in range(3):
        page = xml.get("", params={"list-type": "2", "prefix": "p/", "delimiter": "/", "max-keys": "1", **token}).text
        seen.append(page.split("<Contents><Key>")[-1].split("<")[0] if "<Contents>" in page else "prefix")
        if "<NextContinuationToken>" in page:
            token = {"continuation-token": page.split("<NextContinuationToken>")[1].split("<")[0]}
    assert seen == ["p/1", "p/2", "prefix"]
    after = xml.get("", params={"list-type": "2", "start-after": "p/2"}).text
    assert "p/2<" not in after
    assert "p/d/3<" in after


def test_xml_multipart_uploads_are_completed_or_aborted(xml: httpx.Client) -> None:
    def begin() -> str:
        return xml.post("/m?uploads").text.split("<UploadId>")[1].split("<")[0]

    upload = begin()
    tags = [
        xml.put("/m", params={"uploadId": upload, "partNumber": number}, content=data).headers["etag"]
        for number, data in ((1, b"one,"), (2, b"two"))
    ]
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in enumerate(tags, 1))
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
    assert xml.get("/m").status_code == 404
    assert xml.post("/m", params={"uploadId": upload}, content=body).status_code == 200
    assert xml.get("/m").content == b"one,two"
    aborted = begin()
    assert xml.delete("/m", params={"uploadId": aborted}).status_code == 204
    assert xml.post("/m", params={"uploadId": aborted}, content=body).status_code == 404


# Delta


def rows(session: str, *clips: int) -> pa.Table:
    return pa.table({"session_id": pa.array([session] * len(clips), pa.string()), "clip": pa.array(clips, pa.int64())})


def stored(table: DeltaTable) -> list[tuple[str, int]]:
    data = table.to_pyarrow_table().to_pydict()
    return sorted(zip(data["session_id"], data["clip"], strict=True))


def test_a_delta_table_is_written_replaced_in_part_and_compacted(gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    uri, options = f"gs://{gcs_bucket}/archive/clip_metadata", gcs_emulator.delta_options()
    write_deltalake(uri, rows("a", 1, 2), storage_options=options)
    write_deltalake(uri, rows("b", 3), mode="append", storage_options=options)
    write_deltalake(uri, rows("a", 9), mode="overwrite", predicate="session_id = 'a'", storage_options=options)
    table = DeltaTable(uri, storage_options=options)
    assert stored(table) == [("a", 9), ("b", 3)]
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.create_checkpoint()
    reopened = DeltaTable(uri, storage_options=options)
    assert (stored(reopened), len(reopened.file_uris())) == ([("a", 9), ("b", 3)], 1)
    assert {record.api for record in gcs_emulator.requests} == {"xml"}
    assert gcs_emulator.requests.of("upload_final", contains="_delta_log/00000000000000000000.json")[0].status == 200


def test_two_delta_writers_lose_no_commit(gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    uri, options = f"gs://{gcs_bucket}/clip_metadata", gcs_emulator.delta_options()
    write_deltalake(uri, rows("0", 0), storage_options=options)
    together = threading.Barrier(2, timeout=30)

    def replace(session: str, clip: int) -> None:
        together.wait()
        for attempt in range(20):
            predicate = f"session_id = '{session}'"
            try:
                write_deltalake(
                    uri, rows(session, clip), mode="overwrite", predicate=predicate, storage_options=options
                )
            except (CommitFailedError, DeltaError):
                time.sleep(0.02 * attempt)
            else:
                return
        raise AssertionError("never committed")

    def refused() -> bool:
        return any(record.status == 412 for record in gcs_emulator.requests.of("upload_final"))

    rounds = 0
    with ThreadPoolExecutor(2) as pool:
        while rounds < 5 or not refused():
            assert rounds < 100, "the two never met, so the test shows nothing"
            list(pool.map(replace, ["a", "b"], [rounds, rounds]))
            rounds += 1
    table = DeltaTable(uri, storage_options=options)
    assert stored(table) == [("0", 0), ("a", rounds - 1), ("b", rounds - 1)]
    assert table.version() == 2 * rounds


def test_a_delta_commit_meets_a_fault(gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    uri, options = f"gs://{gcs_bucket}/t", gcs_emulator.delta_options()
    fault = gcs_emulator.faults.add("forbidden", api="xml", contains="_delta_log")
    with pytest.raises(Exception, match=r"403|[Ff]orbidden|[Pp]ermission"):
        write_deltalake(uri, rows("a", 1), storage_options=options)
    assert fault.hits == 1


def test_an_ambiguous_delta_commit_is_made_twice_but_adds_its_rows_once(
    gcs_emulator: GcsEmulator,
    gcs_bucket: str,
) -> None:
    uri, options = f"gs://{gcs_bucket}/t", gcs_emulator.delta_options()
    gcs_emulator.faults.add("ambiguous", api="xml", contains="_delta_log")
    write_deltalake(uri, rows("a", 1), storage_options=options)
    table = DeltaTable(uri, storage_options=options)
    assert (table.version(), stored(table)) == (1, [("a", 1)])


def test_a_large_delta_file_is_uploaded_in_parts(gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    uri, options = f"gs://{gcs_bucket}/t", gcs_emulator.delta_options()
    data = pa.table({"noise": pa.array([os.urandom(1000) for _ in range(12_000)])})
    write_deltalake(uri, data, storage_options=options)
    assert gcs_emulator.requests.of("upload_start", "upload_chunk")
    assert DeltaTable(uri, storage_options=options).to_pyarrow_table().num_rows == 12_000
