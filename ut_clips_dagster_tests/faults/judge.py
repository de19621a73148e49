"""Runs a row and holds what came of it against what is to be; and the invariants that hold whatever fails."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from ut_clips_dagster.archive.session_work import SessionResult
from ut_clips_dagster.archive.verification import objects, rows
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.simulator import Session
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .bench import SECRET, Bench
from .row import Found, Row

SIGNS_OF_SECRETS = (SECRET.encode(), b"X-Amz-Signature", b"X-Amz-Credential", b"Bearer ", b"eyJhbGciOi")
"""The client secret, what a signed link is made of, and how every token of the simulator begins."""


def run_row(row: Row, root: Path, bucket_emulator: GcsEmulator | S3Emulator | None = None) -> Found:
    """Inject the failure, archive both sessions, and judge."""
    began = time.monotonic()
    emulator = None if row.store == "directory" else bucket_emulator
    bucket = f"faults-{uuid.uuid4().hex[:12]}"
    if emulator is not None:
        emulator.faults.clear()
        if row.special != "missing_bucket":
            emulator.create_bucket(bucket)
    stalling = any("stall" in fault for fault in row.faults)
    with Bench(root, gcs=emulator, bucket=bucket, route=row.route, special=row.special, stalling=stalling) as bench:
        bench.add_faults(row.faults, row.gcs)
        try:
            results = bench.run()
            refused = None
        except StorageError as error:
            results, refused = {}, str(error)
        if emulator is not None:
            emulator.faults.clear()
        found = _found(row, bench, results, refused)
        kept, statuses, other, error = found
        wrong = [
            *_differences(row, bench, found),
            *(["a secret is in the message"] if has_secret((error or "").encode()) else []),
            *(invariants(bench, results) if refused is None else []),
        ]
        return Found(kept, statuses, error, bench.requests, other, round(time.monotonic() - began, 2), tuple(wrong))


def invariants(bench: Bench, results: dict[str, SessionResult]) -> list[str]:
    """What holds whatever fails; a sentence for everything that does not."""
    wrong: list[str] = []
    for session in (bench.a, bench.b):
        result = results.get(session.session_id)
        if result is None:
            wrong.append(f"session {session.session_id} has no result")
        else:
            wrong += _session_invariants(bench, session, result)
    wrong += _file_invariants(bench)
    return wrong


def has_secret(content: bytes) -> bool:
    """Whether a text holds a secret, a token or a signed link."""
    return any(sign in content for sign in SIGNS_OF_SECRETS)


def _session_invariants(bench: Bench, session: Session, result: SessionResult) -> list[str]:
    wrong = []
    try:
        record = bench.records.read(session.session_id)
    except StorageError:
        return [] if result.error else ["a session with a damaged document is called complete"]
    if result.error is None:
        if not record.is_complete:
            wrong.append("called complete, but the documents say that clips are missing")
        has_video = record.clip_list is not None and record.clip_list.has_video
        stored = {file.clip_uuid for file in record.clip_files.files}
        if has_video and (missing := set(bench.listed(session)) - stored):
            wrong.append(f"called complete without {missing}")
    wrong += [
        f"{file.storage_path} has not the clip's bytes"
        for file in record.clip_files.files
        if b"".join(bench.store.read(file.storage_path)) != bench.expected_bytes(file.clip_uuid)
    ]
    wrong += [difference.what for difference in objects(record, bench.store, read_data=True)]
    if result.rows_written:
        wrong += [difference.what for difference in rows(record, bench.table.read([session.session_id]))]
    return wrong


def _file_invariants(bench: Bench) -> list[str]:
    wrong = []
    foreign = bench.path_of(bench.a1)  # in one row, a file that is not ours has this name
    for path in bench.store.walk(""):
        content = b"".join(bench.store.read(path))
        if has_secret(content):
            wrong.append(f"{path} holds a secret")
        if path.endswith(".part"):
            wrong.append(f"{path} was left behind")
        if path.startswith("clips/") and path.endswith(".mp4"):
            clip_uuid = path.split("/")[3].removesuffix(".mp4")
            if content != bench.expected_bytes(clip_uuid) and not (path == foreign and content == b"other bytes"):
                wrong.append(f"{path} is not the clip")
    return wrong


def _found(
    row: Row, bench: Bench, results: dict[str, SessionResult], refused: str | None
) -> tuple[int, tuple[str, ...] | None, str, str | None]:
    if refused is not None:
        return 0, None, "not started", refused
    a, b = results[bench.a.session_id], results[bench.b.session_id]
    found = bench.table.read([bench.a.session_id])
    statuses = tuple(sorted(found["status"])) if a.rows_written or len(found) else None
    kept = 0
    for clip_uuid in bench.listed(bench.a):
        whole = bench.expected_bytes(clip_uuid)
        paths = list(bench.store.walk(f"clips/{bench.a.test_id}/{bench.a.session_id}/"))
        kept += any(b"".join(bench.store.read(path)) == whole for path in paths if clip_uuid in path)
    other = "complete" if b.error is None else "fails alike" if row.message in b.error else b.error
    return kept, statuses, other, a.error


def _differences(row: Row, bench: Bench, found: tuple[int, tuple[str, ...] | None, str, str | None]) -> list[str]:
    kept, statuses, other, error = found
    wrong = []
    if kept != row.kept:
        wrong.append(f"{kept} clips kept, not {row.kept}")
    if statuses != row.rows:
        wrong.append(f"rows {statuses}, not {row.rows}")
    if abs(bench.requests - row.requests) > row.within:
        wrong.append(f"{bench.requests} requests, not {row.requests}")
    if other != row.other:
        wrong.append(f"the other session: {other}, not {row.other}")
    if not row.message and error:
        wrong.append(f"unfinished: {error}")
    if row.message and row.message not in (error or ""):
        wrong.append(f"the message is {error!r}, without {row.message!r}")
    return wrong
