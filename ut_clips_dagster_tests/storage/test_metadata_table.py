"""The Delta table: the contract's columns, replaced by session, with several writers, in both places."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from ut_clips_dagster.errors import StorageError, TableConflictError
from ut_clips_dagster.storage import compaction, session_table
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable, as_clip_metadata
from ut_clips_dagster.storage.session_table import MAX_COMMIT_ATTEMPTS, MAX_COMMIT_WAIT_S, SessionTable
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable
from ut_clips_dagster_tests.gcs_emulator import ANY, GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
CONTRACT = {
    "session_id": "string",
    "study_uuid": "string",
    "clip_uuid": "string",
    "clip_name": "string",
    "clip_description": "string",
    "time_start_ms": "Int64",
    "time_end_ms": "Int64",
    "video_uuid": "string",
    "has_audio": "boolean",
    "has_camera": "boolean",
    "status": "string",
    "error": "string",
    "listed": "boolean",
    "storage_path": "string",
    "size_bytes": "Int64",
    "crc32c": "string",
    "content_type": "string",
    "downloaded_at": "datetime64[us, UTC]",
    "first_listed_at": "datetime64[us, UTC]",
    "listed_at": "datetime64[us, UTC]",
    "generation_attempts": "Int64",
    "waited_s": "Float64",
    "session_started_at": "datetime64[us, UTC]",
    "session_finished_at": "datetime64[us, UTC]",
}


def row(session_id: str, **values: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(CONTRACT),
        "session_id": session_id,
        "clip_uuid": str(uuid.uuid4()),
        "clip_name": "Zögert: “Gutschein”?",
        "time_start_ms": 0,
        "has_audio": True,
        "status": "STORED",
        "listed": True,
        "size_bytes": 2**40,
        "listed_at": AT,
        "waited_s": 1.5,
        **values,
    }


def rows(session_id: str, number: int = 2, **values: Any) -> pd.DataFrame:
    return as_clip_metadata([row(session_id, **values) for _ in range(number)])


@pytest.fixture
def table(store: Store) -> MetadataTable:
    return MetadataTable(store.uri, sleep=lambda _: None)


def test_columns_and_dtypes_are_the_contract(table: MetadataTable) -> None:
    written = rows("s1")
    table.replace("s1", written)
    for frame in (written, table.read(), table.read(["s1"]), table.read(["none"]), as_clip_metadata([])):
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == CONTRACT
        assert list(frame.columns) == list(CONTRACT)
    read = table.read().sort_values("clip_uuid", ignore_index=True)
    pd.testing.assert_frame_equal(read, written.sort_values("clip_uuid", ignore_index=True))
    assert read["listed_at"][0] == AT
    assert read["error"][0] is pd.NA


def test_a_table_that_was_never_written_is_empty(table: MetadataTable) -> None:
    assert len(table.read()) == 0
    assert list(table.read(columns=["status"]).columns) == ["status"]
    assert len(table.unfinished()) == 0
    assert table.arrow() is None
    assert not table.compact()


def test_rows_of_a_session_are_replaced_and_no_others(table: MetadataTable) -> None:
    for session in ("s1", "s2", "s3"):
        table.replace(session, rows(session))
    other = table.read(["s1", "s3"])
    table.replace("s2", rows("s2", 1, status="ERROR", error="why"))
    assert len(table.read()) == 5
    assert list(table.read(["s2"])["error"]) == ["why"]
    pd.testing.assert_frame_equal(
        table.read(["s1", "s3"]).sort_values("clip_uuid", ignore_index=True),
        other.sort_values("clip_uuid", ignore_index=True),
    )
    table.replace("s2", rows("s2", 0))
    assert len(table.read(["s2"])) == 0
    assert len(table.read()) == 4


def test_reading_chooses_sessions_and_columns(table: MetadataTable) -> None:
    for session in ("s1", "s2", "s3"):
        table.replace(session, rows(session))
    assert set(table.read(["s1", "s3", "none"])["session_id"]) == {"s1", "s3"}
    assert len(table.read([])) == 0
    assert list(table.read(["s1"], columns=["clip_uuid", "status"]).columns) == ["clip_uuid", "status"]
    assert len(table.read()) == 6


def test_unfinished_are_the_listed_clips_that_are_not_stored(table: MetadataTable) -> None:
    clips = [
        row("s1"),
        row("s1", status="ERROR", error="why", clip_uuid="e"),
        row("s1", status="MISSING", error="gone", listed=False),
        row("s1", status="GENERATING", error="slow", clip_uuid="g"),
    ]
    table.replace("s1", as_clip_metadata(clips))
    found = table.unfinished().sort_values("clip_uuid")
    assert list(found.columns) == ["session_id", "clip_uuid", "status", "error"]
    assert list(found["clip_uuid"]) == ["e", "g"]
    assert list(found["error"]) == ["why", "slow"]


@pytest.mark.parametrize("created", [pytest.param(True, marks=pytest.mark.long), False])
def test_writers_at_the_same_time_lose_and_repeat_nothing(store: Store, *, created: bool) -> None:
    """Two processes, six sessions each; where the table is not there yet, both try to create it."""
    if created:
        MetadataTable(store.uri).replace("first", rows("first"))

    def writer(name: str) -> None:
        table = MetadataTable(store.uri)
        for number in range(6):
            table.replace(f"{name}{number}", rows(f"{name}{number}"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(writer, "ab"))
    found = MetadataTable(store.uri).read()
    expected = {f"{name}{number}" for name in "ab" for number in range(6)} | ({"first"} if created else set())
    assert set(found["session_id"]) == expected
    assert len(found) == 2 * len(expected)
    assert not found["clip_uuid"].duplicated().any()


def test_writers_of_one_session_leave_the_rows_of_one_of_them(store: Store) -> None:
    def write(number: int) -> None:
        MetadataTable(store.uri).replace("s", rows("s", 3, clip_name=f"writer {number}"))

    MetadataTable(store.uri).replace("s", rows("s"))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(6)))
    found = MetadataTable(store.uri).read()
    assert len(found) == 3
    assert len(set(found["clip_name"])) == 1


def test_creators_of_a_table_at_the_same_time_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: MetadataTable(store.uri).replace(name, rows(name)), "abcd"))
    assert sorted(MetadataTable(store.uri).read()["session_id"]) == sorted("aabbccdd")


def test_a_commit_that_keeps_losing_is_given_up_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts, waits = [], []

    def lose(*_: Any, **__: Any) -> None:
        attempts.append(1)
        raise CommitFailedError("a concurrent transaction")

    monkeypatch.setattr(session_table, "write_deltalake", lose)
    with pytest.raises(TableConflictError, match="rows of session s1 are not written yet"):
        MetadataTable(str(tmp_path), sleep=waits.append).replace("s1", rows("s1"))
    assert len(attempts) == MAX_COMMIT_ATTEMPTS
    assert all(0 <= wait <= MAX_COMMIT_WAIT_S for wait in waits)


def test_rows_that_are_no_longer_true_after_their_commit_are_written_again(tmp_path: Path) -> None:
    """Another writer may have committed the newer rows before this one overwrote them."""
    old, new = (rows("s", clip_name=name) for name in ("old", "new"))
    documents = iter([old, new, new, new])
    table = MetadataTable(str(tmp_path), sleep=lambda _: None)

    table.replace("s", lambda: next(documents))

    assert set(table.read()["clip_name"]) == {"new"}
    assert next(documents, None) is None


def test_a_writer_whose_commit_is_lost_makes_its_rows_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = MetadataTable(str(tmp_path), sleep=lambda _: None)
    documents, commits = ["old"], []
    made = {name: rows("s", clip_name=name) for name in ("old", "new")}

    def commit(*arguments: Any, **options: Any) -> None:
        commits.append(1)
        if len(commits) == 1:  # the other one changed the documents, and its commit won
            documents[:] = ["new"]
            raise CommitFailedError("a concurrent transaction")
        write_deltalake(*arguments, **options)

    monkeypatch.setattr(session_table, "write_deltalake", commit)

    table.replace("s", lambda: made[documents[0]])

    assert len(commits) == 2
    assert set(table.read()["clip_name"]) == {"new"}


def test_rows_that_never_stay_true_are_given_up_in_bounds(tmp_path: Path) -> None:
    made = []

    def another() -> pd.DataFrame:
        made.append(1)
        return rows("s")

    with pytest.raises(TableConflictError, match="rows of session s are not written yet"):
        MetadataTable(str(tmp_path), sleep=lambda _: None).replace("s", another)
    assert len(made) == 2 * MAX_COMMIT_ATTEMPTS


def test_many_small_files_are_compacted_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_FILES", 5)
    table = MetadataTable(str(tmp_path))
    for number in range(6):
        table.replace(f"s{number}", rows(f"s{number}"))
    before = table.read().sort_values("clip_uuid", ignore_index=True)
    assert table.compact()
    assert len(DeltaTable(table.uri).file_uris()) < 5
    pd.testing.assert_frame_equal(table.read().sort_values("clip_uuid", ignore_index=True), before)
    assert not table.compact()
    table.replace("s3", rows("s3", 1))
    assert len(table.read()) == 11


def test_compaction_leaves_large_files_alone_until_many_hold_the_same_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run costs must not grow with the table; nor may the files that a replacement reads."""
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_FILES", 3)
    monkeypatch.setattr(compaction, "SMALL_BYTES", 14_000)
    monkeypatch.setattr(compaction, "SORT_ABOVE_OVERLAP", 3)
    table = MetadataTable(str(tmp_path))
    number, most, kept = 0, 0, []
    for _ in range(24):
        for _ in range(4):  # so that every round has enough small files
            table.replace(f"{number * 7919 % 1000:03}", rows(f"{number * 7919 % 1000:03}", 8))
            number += 1
        before = large_files(table)
        assert table.compact()
        after = large_files(table)
        kept.append(before <= after)
        most = max(most, len(table.files() or []))
    found = table.read()
    assert (len(found), found["session_id"].nunique()) == (8 * number, number)
    assert not found["clip_uuid"].duplicated().any()
    assert kept.count(False) >= 1
    assert kept.count(False) < len(kept) / 4
    assert most <= 8


def large_files(table: MetadataTable) -> set[str]:
    files = {Path(name) for name in table.files() or []}
    return {path.name for path in files if path.stat().st_size >= compaction.SMALL_BYTES}


def test_a_replaced_session_of_a_large_file_keeps_its_new_rows_when_small_files_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_FILES", 2)
    monkeypatch.setattr(compaction, "SMALL_BYTES", 14_000)
    table = MetadataTable(str(tmp_path))
    table.rewrite(pd.concat([rows(f"s{n}", 20) for n in range(20)], ignore_index=True))
    for name in ("s3", "new", "it's", "s9", "newer"):
        table.replace(name, rows(name, 1, clip_name="new"))

    assert table.compact()

    assert len(table.files() or []) == 2
    assert list(table.read(["s3", "new", "it's", "s9", "newer"])["clip_name"]) == ["new"] * 5
    assert len(table.read()) == 18 * 20 + 5


def test_two_compactions_at_the_same_time_do_not_repeat_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`optimize` of delta-rs does: both of its commits succeed."""
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_FILES", 3)
    for attempt in range(3):
        archive = str(tmp_path / str(attempt))
        for number in range(6):
            MetadataTable(archive).replace(f"s{number}", rows(f"s{number}"))
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda uri: MetadataTable(uri).compact(), [archive] * 3))
        assert True in done
        assert len(MetadataTable(archive).read()) == 12


def test_compaction_beside_a_writer_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "COMPACT_ABOVE_FILES", 3)

    def write(name: str) -> None:
        table = MetadataTable(str(tmp_path))
        for number in range(8):
            table.replace(f"{name}{number}", rows(f"{name}{number}"))
            table.compact()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    found = MetadataTable(str(tmp_path)).read()
    assert len(found) == 32
    assert found["session_id"].nunique() == 16


@pytest.mark.parametrize("damage", ["removed", "garbage", "no text"])
def test_a_damaged_data_file_is_named(tmp_path: Path, damage: str) -> None:
    table = MetadataTable(str(tmp_path))
    table.replace("s1", rows("s1"))
    for file in Path(table.uri).glob("*.parquet"):
        if damage == "removed":
            file.unlink()
        elif damage == "garbage":
            file.write_bytes(b"garbage" * 100)
        else:  # a byte that no text in UTF-8 holds: Parquet has no checksum that would tell
            file.write_bytes(file.read_bytes().replace(b"STORED", b"STOR\xa0D"))
    uses = [table.read, table.unfinished, lambda: table.replace("s1", rows("s1"))]
    for use in uses[: 2 if damage == "no text" else 3]:  # rows that are replaced need not be read
        with pytest.raises(StorageError, match=r"Cannot .* the table"):
            use()


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    table = MetadataTable(str(tmp_path))
    table.replace("s1", rows("s1"))
    for file in (Path(table.uri) / "_delta_log").iterdir():
        file.write_bytes(b"garbage")
    for use in (table.read, table.unfinished, table.compact, lambda: table.replace("s1", rows("s1"))):
        with pytest.raises(StorageError, match="the table"):
            use()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"")
    table = MetadataTable(str(tmp_path / "archive"))
    with pytest.raises(StorageError, match=r"Cannot .* the table"):
        table.replace("s1", rows("s1"))


def test_no_permission_is_named(gcs_emulator: GcsEmulator, gcs_bucket: str) -> None:
    table = MetadataTable(f"gs://{gcs_bucket}/archive")
    table.replace("s1", rows("s1"))
    gcs_emulator.faults.add("forbidden", count=None, on=ANY, api="xml")
    for use in (table.read, lambda: table.replace("s1", rows("s1"))):
        with pytest.raises(StorageError, match=r"Cannot .* the table"):
            use()


@pytest.mark.parametrize("kind", ["status_503", "status_429", "reset", "ambiguous"])
def test_a_passing_failure_of_gcs_loses_and_repeats_nothing(
    gcs_emulator: GcsEmulator, gcs_bucket: str, kind: Any
) -> None:
    table = MetadataTable(f"gs://{gcs_bucket}/archive", sleep=lambda _: None)
    table.replace("s1", rows("s1"))
    gcs_emulator.faults.add(kind, count=2, api="xml")
    table.replace("s2", rows("s2"))
    table.replace("s1", rows("s1", 1))
    assert sorted(table.read()["session_id"]) == ["s1", "s2", "s2"]


@pytest.mark.parametrize(
    "kind", ["status_503", "reset", "ambiguous", "ambiguous_reset"]
)  # 409: of conditional ones only
def test_a_passing_failure_of_s3_loses_and_repeats_nothing(s3_emulator: S3Emulator, s3_bucket: str, kind: Any) -> None:
    table = MetadataTable(f"s3://{s3_bucket}/archive", sleep=lambda _: None)
    table.replace("s1", rows("s1"))
    fault = s3_emulator.faults.add(kind, count=2, api="xml")
    table.replace("s2", rows("s2"))
    table.replace("s1", rows("s1", 1))
    assert fault.hits == 2
    assert sorted(table.read()["session_id"]) == ["s1", "s2", "s2"]


def test_no_permission_in_s3_is_named_without_a_key(s3_emulator: S3Emulator, s3_bucket: str) -> None:
    table = MetadataTable(f"s3://{s3_bucket}/archive")
    table.replace("s1", rows("s1"))
    s3_emulator.faults.add("forbidden", count=None, on=ANY, api="xml")
    for use in (table.read, lambda: table.replace("s1", rows("s1"))):
        with pytest.raises(StorageError, match=r"Cannot .* the table") as raised:
            use()
        assert not any(sign in str(raised.value) for sign in ("AKIA", "Signature", "secret"))


SECRET_NAME, SECRET_WORDS = "Resignation of Jane Doe", "what nobody else should read"


def told_in_log(table: SessionTable) -> set[str]:
    """Which of the two texts the table's log holds; a checkpoint is Parquet, so it is read, too."""
    log = Path(table.uri) / "_delta_log"
    texts = [path.read_text() for path in log.glob("*.json")]
    texts += [str(pq.read_table(path).to_pylist()) for path in log.glob("*.parquet")]
    assert texts
    return {secret for secret in (SECRET_NAME, SECRET_WORDS) if any(secret in text for text in texts)}


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        (MetadataTable, {"session_id", "study_uuid", "status", "listed"}),
        (MediaTable, {"session_id", "clip_uuid"}),
        (TranscriptsTable, {"session_id", "clip_uuid"}),
    ],
)
def test_the_log_tells_of_no_column_but_those_that_queries_skip_files_by(
    tmp_path: Path, kind: type[SessionTable], columns: set[str]
) -> None:
    table = kind(str(tmp_path))
    texts = {field.name: SECRET_NAME for field in kind.schema if field.type == pa.string()}
    for number in range(3):
        values = {**dict.fromkeys(kind.schema.names), **texts, **dict.fromkeys(columns - {"listed"}, "x")}
        if kind is TranscriptsTable:
            values["cues"] = [{"start_ms": 0, "end_ms": 1, "voice": SECRET_NAME, "text": SECRET_WORDS}]
        table.replace(f"s{number}", as_rows(kind.schema, [{**values, "session_id": f"s{number}"}]))
    DeltaTable(table.uri).create_checkpoint()
    assert told_in_log(table) == set()
    told = pa.table(DeltaTable(table.uri).get_add_actions(flatten=True)).column_names
    assert {name.removeprefix("max.") for name in told if name.startswith("max.")} <= columns
    assert "max.session_id" in told


def test_a_table_of_before_is_written_anew_once_so_that_its_log_tells_no_names(tmp_path: Path) -> None:
    table = MetadataTable(str(tmp_path))
    for number in range(3):
        before = rows(f"s{number}", clip_name=SECRET_NAME, clip_description=SECRET_WORDS)
        write_deltalake(table.uri, pa.Table.from_pandas(before, schema=SCHEMA, preserve_index=False), mode="append")
    assert told_in_log(table) == {SECRET_NAME, SECRET_WORDS}
    held = table.read().sort_values("clip_uuid", ignore_index=True)
    assert table.compact()
    assert not table.compact()
    pd.testing.assert_frame_equal(table.read().sort_values("clip_uuid", ignore_index=True), held)
    table.replace("s9", rows("s9", clip_name=SECRET_NAME))
    for path in (Path(table.uri) / "_delta_log").glob("*.json"):
        if int(path.stem) < 3:  # entries of before go when they are 30 days old, as Delta has it
            path.unlink()
    assert told_in_log(table) == set()
    assert len(table.read()) == 8


def test_rows_written_anew_by_a_repair_leave_no_names_either(tmp_path: Path) -> None:
    table = MetadataTable(str(tmp_path))
    for _ in range(2):
        table.rewrite(rows("s1", clip_name=SECRET_NAME))
    assert told_in_log(table) == set()


@pytest.mark.parametrize("before", [[], ["s1", None]])
def test_what_another_writer_commits_during_a_change_of_all_rows_stays(
    tmp_path: Path, before: list[str | None]
) -> None:
    table, other = (MetadataTable(str(tmp_path), sleep=lambda _: None) for _ in range(2))
    if before:
        table.rewrite(as_clip_metadata([{**row(""), "session_id": key} for key in before]))
    seen: list[list[str]] = []

    def change(present: pa.Table) -> pa.Table:
        seen.append(present["session_id"].drop_null().to_pylist())
        if len(seen) == 1:
            other.replace("new", rows("new", 1))
        return present.filter(pc.is_valid(present["session_id"]))

    assert sorted(table.change(change)["session_id"].to_pylist()) == sorted(seen[1])
    assert sorted(table.read()["session_id"]) == ["new", *before[:1]]


def test_what_another_writer_commits_while_all_rows_are_made_anew_stays(tmp_path: Path) -> None:
    table, other = (MetadataTable(str(tmp_path), sleep=lambda _: None) for _ in range(2))
    known = ["s1"]

    def made() -> pd.DataFrame:
        all_rows = pd.concat([rows(key, 1) for key in known], ignore_index=True)
        if len(known) == 1:
            known.append("new")
            other.replace("new", rows("new", 1))
        return all_rows

    table.rewrite(made)
    assert sorted(table.read()["session_id"]) == ["new", "s1"]
