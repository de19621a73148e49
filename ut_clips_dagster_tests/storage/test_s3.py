"""What can go wrong in S3: refusals, cut uploads, lost answers, permissions, services that ignore conditions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest
from botocore.exceptions import ClientError

from ut_clips_dagster.errors import SettingsError, StorageConflictError, StorageError
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.storage import s3_conditions
from ut_clips_dagster.storage.delta_options import storage_options
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable, as_clip_metadata
from ut_clips_dagster.storage.s3 import S3Store
from ut_clips_dagster.storage.s3_failures import advice
from ut_clips_dagster.storage.session_table import found_table
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable
from ut_clips_dagster_tests.gcs_emulator import ANY, FaultKind, Operation
from ut_clips_dagster_tests.s3_emulator import S3Emulator

PATH = "clips/study/session/clip.mp4"
MIB = 1024 * 1024
SMALL, LARGE = 1_000, 9 * MIB
TABLES = (MetadataTable, MediaTable, TranscriptsTable, SessionTranscriptsTable)


def uploads_left(emulator: S3Emulator, store: S3Store) -> list[str]:
    bucket = store.uri.split("/")[2]
    return [upload["Key"] for upload in emulator.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def test_objects_lie_below_the_prefix_with_their_type_and_checksum(
    s3_store: S3Store, s3_emulator: S3Emulator, s3_bucket: str
) -> None:
    s3_store.put_clip(PATH, [b"hello"], "video/webm")
    head = s3_emulator.client().head_object(Bucket=s3_bucket, Key=f"some/prefix/{PATH}", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ContentType"], head["ChecksumCRC32C"]) == (5, "video/webm", "mnG7TA==")
    assert s3_store.uri == f"s3://{s3_bucket}/some/prefix"
    assert S3Store.at(None, f"s3://{s3_bucket}").uri == f"s3://{s3_bucket}"


def test_a_large_object_has_the_checksum_of_the_whole(s3_store: S3Store, s3_emulator: S3Emulator) -> None:
    info = s3_store.put_clip(PATH, [os.urandom(LARGE)], "video/mp4")
    s3_emulator.requests.clear()
    assert s3_store.checksum(PATH) == info.crc32c
    assert [record.method for record in s3_emulator.requests] == ["HEAD"]


def test_ranges_are_read(s3_store: S3Store) -> None:
    s3_store.put_clip(PATH, [b"0123456789"], "video/mp4")
    assert [s3_store.read_range(PATH, *at) for at in ((0, 3), (4, 2), (8, 9), (10, 5))] == [b"012", b"45", b"89", b""]


def test_an_object_that_something_else_put_there_without_a_checksum_is_read(
    s3_store: S3Store, s3_emulator: S3Emulator, s3_bucket: str
) -> None:
    s3_emulator.client().put_object(Bucket=s3_bucket, Key=f"some/prefix/{PATH}", Body=b"hello")
    assert s3_store.checksum(PATH) == "mnG7TA=="
    assert s3_store.put_clip(PATH, [b"hello"], "video/mp4").adopted


@pytest.mark.parametrize("kind", ["status_503", "reset", "cut_upload"])
@pytest.mark.parametrize("operation", ["upload_start", "upload_chunk", "upload_final"])
def test_a_passing_failure_is_retried(
    s3_store: S3Store, s3_emulator: S3Emulator, kind: FaultKind, operation: Operation
) -> None:
    data = os.urandom(LARGE)
    fault = s3_emulator.faults.add(kind, count=2, on=[operation], api="xml", contains=PATH)
    info = s3_store.put_clip(PATH, [data], "video/mp4")
    assert fault.hits == 2
    assert info.size_bytes == len(data)
    assert b"".join(s3_store.read(PATH)) == data


@pytest.mark.parametrize("kind", ["ambiguous", "ambiguous_reset"])
@pytest.mark.parametrize("count", [1, None])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_lost_answer_is_resolved_by_looking(
    s3_store: S3Store, s3_emulator: S3Emulator, kind: FaultKind, count: int | None, size: int
) -> None:
    data = os.urandom(size)
    s3_emulator.faults.add(kind, count=count, api="xml", contains=PATH)
    assert s3_store.put_clip(PATH, [data], "video/mp4").size_bytes == size
    assert b"".join(s3_store.read(PATH)) == data
    assert uploads_left(s3_emulator, s3_store) == []


@pytest.mark.parametrize("kind", ["status_503", "cut_upload", "forbidden", "reset", "status_409"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_lasting_failure_leaves_nothing_and_says_so(
    s3_store: S3Store, s3_emulator: S3Emulator, kind: FaultKind, size: int
) -> None:
    s3_emulator.faults.add(kind, count=None, api="xml", on=["upload_chunk", "upload_final"], contains=PATH)
    says = "grant them s3:ListBucket" if kind == "forbidden" else "It is tried again"
    with pytest.raises(StorageError, match=f"Cannot store {PATH} in .*{says}.* Nothing stored was changed") as raised:
        s3_store.put_clip(PATH, [os.urandom(size)], "video/mp4")
    assert not isinstance(raised.value, StorageConflictError)
    assert "AKIA" not in str(raised.value)
    assert raised.value.__cause__ is None
    s3_emulator.faults.clear()
    assert list(s3_store.walk("")) == []
    assert uploads_left(s3_emulator, s3_store) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_conflict_that_passes_is_sent_again_or_said(s3_store: S3Store, s3_emulator: S3Emulator, size: int) -> None:
    """409: somebody else was writing. What is in memory is sent again; an upload in parts has to be begun anew."""
    s3_emulator.faults.add("status_409", count=2, api="xml", on=["upload_final"], contains=PATH)
    if size == SMALL:
        assert not s3_store.put_clip(PATH, [b"x"], "video/mp4").adopted
    else:
        with pytest.raises(StorageError, match=r"409 ConditionalRequestConflict.*It is tried again"):
            s3_store.put_clip(PATH, [os.urandom(size)], "video/mp4")


def test_a_412_with_nothing_there_is_no_success(s3_store: S3Store, s3_emulator: S3Emulator) -> None:
    s3_emulator.faults.add("status_412", api="xml", contains=PATH)
    with pytest.raises(StorageError, match="but it is not there"):
        s3_store.put_clip(PATH, [b"x"], "video/mp4")
    assert list(s3_store.walk("")) == []


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_another_run_that_was_faster_is_compared(
    s3_store: S3Store, s3_emulator: S3Emulator, size: int, *, same: bool
) -> None:
    """The name is free at the start of the upload, and taken at its end."""
    data = os.urandom(size)
    theirs = data if same else b"theirs"

    def raced() -> Iterator[bytes]:
        yield data[:-1]
        s3_store.put_clip(PATH, [theirs], "video/mp4")
        yield data[-1:]

    if same:
        assert s3_store.put_clip(PATH, raced(), "video/mp4").adopted
    else:
        with pytest.raises(StorageConflictError):
            s3_store.put_clip(PATH, raced(), "video/mp4")
    assert b"".join(s3_store.read(PATH)) == theirs
    assert uploads_left(s3_emulator, s3_store) == []


@pytest.mark.parametrize("kind", ["status_409", "status_412", "status_503", "ambiguous", "ambiguous_reset", "reset"])
def test_a_document_survives_a_passing_failure(s3_store: S3Store, s3_emulator: S3Emulator, kind: FaultKind) -> None:
    s3_emulator.faults.add(kind, count=2, api="xml", contains="a.json")
    for number in range(3):
        s3_store.update_document("sessions/s/a.json", lambda before, n=number: (before or b"") + b"%d" % n)  # type: ignore[misc]
    content = s3_store.read_document("sessions/s/a.json") or b""
    assert (content[:1], content[-1:], set(content)) == (b"0", b"2", set(b"012"))


def test_a_document_that_is_deleted_between_is_written_as_a_new_one(
    s3_store: S3Store, s3_emulator: S3Emulator, s3_bucket: str
) -> None:
    s3_store.update_document("a.json", lambda _: b"one")
    seen: list[bytes | None] = []

    def update(before: bytes | None) -> bytes:
        if not seen:
            s3_emulator.client().delete_object(Bucket=s3_bucket, Key="some/prefix/a.json")
        seen.append(before)
        return b"two"

    assert s3_store.update_document("a.json", update) == b"two"
    assert seen == [b"one", None]


def test_a_document_that_others_keep_changing_is_given_up(s3_store: S3Store, s3_emulator: S3Emulator) -> None:
    s3_emulator.faults.add("status_412", count=None, api="xml", contains="a.json")
    with pytest.raises(StorageError, match="other runs keep changing it"):
        s3_store.update_document("sessions/s/a.json", lambda _: b"{}")


def test_a_missing_bucket_is_named(s3_emulator: S3Emulator, s3_bucket: str) -> None:
    store = S3Store(s3_emulator.client(), f"{s3_bucket}-none", "")
    for use in (
        store.check_writable,
        lambda: store.put_clip(PATH, [b"x"], "video/mp4"),
        lambda: store.read_document("a.json"),
        lambda: store.update_document("a.json", lambda _: b"{}"),
        lambda: list(store.walk("")),
    ):
        with pytest.raises(StorageError, match=r"-none \(404 NoSuchBucket\). The bucket or object does not exist"):
            use()


def test_no_permission_is_named(s3_store: S3Store, s3_emulator: S3Emulator) -> None:
    s3_emulator.faults.add("forbidden", count=None, api="xml", on=ANY)
    for use in (
        s3_store.check_writable,
        lambda: s3_store.put_clip(PATH, [b"x"], "video/mp4"),
        lambda: s3_store.read_document("a.json"),
        lambda: s3_store.update_document("a.json", lambda _: b"{}"),
        lambda: s3_store.size_bytes(PATH),
        lambda: s3_store.checksum(PATH),
        lambda: list(s3_store.read(PATH)),
        lambda: s3_store.read_range(PATH, 0, 1),
        lambda: list(s3_store.walk("")),
    ):
        with pytest.raises(StorageError, match=r"\(403( AccessDenied)?\). The credentials may not do that"):
            use()


def test_nobody_there_and_no_credentials_are_named(s3_emulator: S3Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))
    with pytest.raises(StorageError, match=r"EndpointConnectionError\). Nobody answers there: check AWS_ENDPOINT_URL"):
        S3Store(s3_emulator.client("http://127.0.0.1:1"), "bucket", "").read_document("a.json")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(StorageError, match=r"NoCredentialsError\). There are no valid AWS credentials"):
        archive("s3://bucket").store().read_document("a.json")


@pytest.mark.parametrize(
    ("answered", "named", "remedy"),
    [
        (400, "ExpiredToken", "log in anew"),
        (301, "PermanentRedirect", "another region"),
        (403, "InvalidAccessKeyId", "does not know the access key"),
        (403, "SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "clock is wrong"),
        (403, "InvalidObjectState", "restore it"),
        (403, "XMinioStorageFull", "make room"),
        (400, "KMS.DisabledException", "KMS key cannot be used"),
        (403, "AccessDenied", "grant them s3:ListBucket"),
        (503, "SlowDown", "It is tried again"),
    ],
)
def test_each_refusal_has_its_own_remedy(answered: int, named: str, remedy: str) -> None:
    told = {"Error": {"Code": named}, "ResponseMetadata": {"HTTPStatusCode": answered}}
    assert remedy in advice(ClientError(told, "GetObject"))


def archive(root: str) -> ArchiveResource:
    from dagster_gcp import GCSResource

    return ArchiveResource(gcs=GCSResource(), root=root)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_aws.s3", None)
    with pytest.raises(SettingsError, match=r"s3://bucket/x needs boto3.*pip install 'ut_clips_dagster\[s3\]'"):
        archive("s3://bucket/x").store()


@pytest.mark.parametrize(
    ("method", "condition"),
    [
        ("put_object", "If-None-Match of PutObject"),
        ("put_object", "If-Match of PutObject"),
        ("complete_multipart_upload", "If-None-Match of CompleteMultipartUpload"),
    ],
)
def test_a_service_that_ignores_one_condition_is_refused(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, method: str, condition: str
) -> None:
    name = condition.partition(" ")[0].replace("-", "")
    real = getattr(s3_store._client, method)
    monkeypatch.setattr(s3_store._client, method, lambda **args: real(**{k: v for k, v in args.items() if k != name}))
    with pytest.raises(StorageError, match=f"ignores {condition}: runs at the same time would overwrite"):
        s3_store.check_writable()


@pytest.mark.parametrize("prefix", ["", "some/prefix/"])
def test_uploads_that_killed_runs_left_a_day_ago_are_aborted(
    s3_emulator: S3Emulator, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Those of clips and of tables, and nobody else's: an archive may share its bucket, also at the root."""
    store = S3Store.at(s3_emulator.client(), f"s3://{s3_bucket}/{prefix}")
    tables = [f"{prefix}{table.name}/part.parquet" for table in TABLES]
    for key in (f"{prefix}{PATH}", *tables, "backups/of others.tar", f"{prefix}backups/of others.tar"):
        s3_emulator.client().create_multipart_upload(Bucket=s3_bucket, Key=key)
    store.check_writable()
    assert len(uploads_left(s3_emulator, store)) == 7

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or timezone.utc) + timedelta(days=1, minutes=1)

    monkeypatch.setattr(s3_conditions, "datetime", Tomorrow)
    store.check_writable()
    assert set(uploads_left(s3_emulator, store)) == {"backups/of others.tar", f"{prefix}backups/of others.tar"}


@pytest.mark.parametrize("answered", [400, 403, 404, 405, 501])
def test_a_service_that_lists_no_uploads_can_be_written(s3_store: S3Store, answered: int) -> None:
    def refuse(**_: object) -> tuple[SimpleNamespace, dict[str, Any]]:
        asked.append(answered)
        told = {"Error": {"Code": "MethodNotAllowed"}, "ResponseMetadata": {"HTTPStatusCode": answered}}
        return SimpleNamespace(status_code=answered), told

    asked: list[int] = []
    events = s3_store._client.meta.events
    events.register("before-call.s3.ListMultipartUploads", refuse)
    try:
        s3_store.check_writable()
    finally:
        events.unregister("before-call.s3.ListMultipartUploads", refuse)
    assert asked == [answered]


def test_existence_is_checked_before_anything_is_streamed(s3_store: S3Store, s3_emulator: S3Emulator) -> None:
    s3_store.put_clip(PATH, [b"x"], "video/mp4")
    s3_emulator.requests.clear()
    assert s3_store.put_clip(PATH, [b"x"], "video/mp4").adopted
    assert s3_emulator.requests.of("upload_start", "upload_chunk", "upload_final") == []


def test_a_download_that_breaks_off_is_asked_for_again(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import IncompleteReadError

    s3_store.put_clip(PATH, [b"hello"], "video/mp4")
    real, breaks = s3_store._client.get_object, [1, 1]

    class Broken:
        def read(self) -> bytes:
            raise IncompleteReadError(actual_bytes=1, expected_bytes=5)

    monkeypatch.setattr(
        s3_store._client,
        "get_object",
        lambda **a: {**real(**a), "Body": Broken()} if breaks and breaks.pop() else real(**a),
    )
    assert b"".join(s3_store.read(PATH)) == b"hello"


def test_the_table_never_commits_without_a_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert storage_options("s3://bucket") == {"conditional_put": "etag"}
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    assert storage_options("s3://bucket") == {
        "conditional_put": "etag",
        "aws_endpoint_url": "http://minio:9000",
        "allow_http": "true",
        "aws_force_credential_load": "true",
        "aws_region": "eu-west-1",
    }


def test_a_profile_and_an_endpoint_lead_clips_and_tables_there_alike(
    s3_emulator: S3Emulator, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {name: s3_emulator.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name in keys:
        monkeypatch.delenv(name)
    credentials = tmp_path / "credentials"
    credentials.write_text("[minio]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in keys.items()))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_PROFILE", "minio")
    root = f"s3://{s3_bucket}/prefix"
    archive(root).store().check_writable()
    table = MetadataTable(root)
    table.replace("session", as_clip_metadata([]))
    assert table.read().empty
    assert table.files() is not None


def test_a_refused_table_says_what_the_service_said(s3_emulator: S3Emulator, s3_bucket: str) -> None:
    s3_emulator.faults.add("forbidden", count=None, api="xml", on=ANY)
    root = f"s3://{s3_bucket}/prefix"
    for read in (lambda: MetadataTable(root).read(), lambda: found_table(root, "clip_metadata")):
        with pytest.raises(
            StorageError, match=r"^Cannot read the table s3://[^\n\x1b↳]*: AccessDenied: fault forbidden"
        ):
            read()
