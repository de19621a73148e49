"""Rows in BigQuery are equal to the archive's Delta tables, each time."""

from __future__ import annotations

import io
import threading
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest, PreconditionFailed
from google.cloud import bigquery

from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.storage.clips_view import view_sql
from ut_clips_dagster.storage.columns import as_rows, comment_of
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable
from ut_clips_dagster.warehouse import publisher as publishing
from ut_clips_dagster.warehouse.dataset import Dataset
from ut_clips_dagster.warehouse.publisher import Publisher
from ut_clips_dagster.warehouse.view import View
from ut_clips_dagster_tests.warehouse.emulator import PROJECT
from ut_clips_dagster_tests.warehouse.fixtures import every_test, with_installation

pytestmark = with_installation
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc)
TABLES: tuple[type[SessionTable], ...] = (MetadataTable, MediaTable, TranscriptsTable)
A, B, C = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
VALUES: dict[pa.DataType, Any] = {
    pa.string(): "né 'quoted' \\ \n line",
    pa.int64(): 2**53 + 1,
    pa.float64(): 0.1,
    pa.bool_(): True,
}


def rows(table: type[SessionTable], session_id: str, clips: int, mark: str = "") -> list[dict[str, Any]]:
    """So many rows, each value of which is of its kind; the last row knows its keys only."""
    made = []
    for number in range(clips):
        row = {field.name: VALUES.get(field.type, NOW) for field in table.schema}
        if number == clips - 1:
            row = dict.fromkeys(row)
        if "cues" in row:
            cue = {"start_ms": 1, "end_ms": 2, "voice": None, "text": "so"}
            row["cues"] = [cue, cue | {"voice": "Ann"}] if number else []
        row |= {"session_id": session_id, "clip_uuid": f"clip-{number}"}
        made.append(row | ({"storage_path": f"{mark}{number}"} if "storage_path" in row else {"text": mark}))
    return made


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two sessions in all three tables."""
    for table in TABLES:
        for session_id, clips in ((A, 3), (B, 2)):
            put(tmp_path, table, session_id, clips)
    return tmp_path


def put(archive: Path, table: type[SessionTable], session_id: str, clips: int, mark: str = "") -> None:
    table(str(archive)).replace(session_id, as_rows(table.schema, rows(table, session_id, clips, mark)))


def assert_equal(client: bigquery.Client, dataset: str, archive: Path, tables: Any = TABLES) -> None:
    """Row by row and value by value; a list that is null is empty in BigQuery."""
    for table in tables:
        there = [dict(row.items()) for row in client.list_rows(client.get_table(f"{dataset}.{table.name}"))]
        delta = table(str(archive)).arrow()
        here = delta.to_table().to_pylist() if delta else []
        assert sorted(there, key=_key) == sorted(here, key=_key), table.name


def _key(row: dict[str, Any]) -> tuple[str, str]:
    return row["session_id"], row["clip_uuid"]


def assert_clean(client: bigquery.Client, dataset: str) -> None:
    assert not [table.table_id for table in client.list_tables(dataset) if table.table_id.startswith("staging")]


class Counted:
    """A client that counts its load jobs and transactions, and fails where it is told to."""

    def __init__(self, client: bigquery.Client) -> None:
        self._client = client
        self.loads: list[str] = []
        self.transactions: list[str] = []
        self.created: list[bigquery.Table] = []
        self.break_load = False
        self.answers: list[Exception] = []
        self.lost_updates = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_table(self, table: bigquery.Table) -> Any:
        self.created.append(table)
        return self._client.create_table(table)

    def update_table(self, table: bigquery.Table, fields: list[str]) -> Any:
        if self.lost_updates:
            self.lost_updates -= 1
            raise PreconditionFailed("etag")
        return self._client.update_table(table, fields)

    def load_table_from_file(self, file: Any, *args: Any, **kwargs: Any) -> Any:
        self.loads.append(args[0])
        return self._client.load_table_from_file(
            io.BytesIO(b"no parquet") if self.break_load else file, *args, **kwargs
        )

    def query(self, sql: str) -> Any:
        if sql.startswith("BEGIN"):
            self.transactions.append(sql)
            if self.answers:
                raise self.answers.pop(0)
        return self._client.query(sql)


@pytest.fixture
def counted(client: bigquery.Client) -> Counted:
    return Counted(client)


@pytest.fixture
def dataset(counted: Counted, dataset_name: str) -> Dataset:
    return Dataset(counted, dataset_name, sleep=lambda _: None)  # type: ignore[arg-type]


def publisher(dataset: Dataset, archive: Path, table: type[SessionTable] = MetadataTable) -> Publisher:
    return Publisher(dataset, table(str(archive)))


@pytest.mark.parametrize(
    "table", [MetadataTable, *(pytest.param(table, marks=every_test) for table in (MediaTable, TranscriptsTable))]
)
def test_rows_are_equal_each_time(dataset: Dataset, counted: Counted, archive: Path, table: type[SessionTable]) -> None:
    """First; a repeat; a changed and a vanished clip; a failed load and transaction; two publishers at a time."""
    of_archive = publisher(dataset, archive, table)
    assert of_archive.lacking() == {A, B}
    outcome = of_archive.publish([A, B, C])
    assert {s: told.rows for s, told in outcome.published.items()} == {A: 3, B: 2, C: 0}
    assert (outcome.written, len(counted.loads)) == ({A, B}, 1)
    assert_equal(counted, dataset.name, archive, [table])
    assert of_archive.lacking() == of_archive.lacking([A, C]) == set()

    counted.transactions.clear()
    assert publisher(dataset, archive, table).publish([A, B]).written == frozenset()
    assert (len(counted.loads), counted.transactions) == (1, [])
    assert_equal(counted, dataset.name, archive, [table])

    put(archive, table, A, 3, "changed")
    assert of_archive.lacking() == of_archive.lacking([A, B]) == {A}
    assert of_archive.publish([A, B]).written == {A}
    assert len(counted.loads) == 2
    assert_equal(counted, dataset.name, archive, [table])

    before = _all_rows(counted, dataset, table)
    put(archive, table, A, 2, "changed")
    put(archive, table, B, 0)
    assert of_archive.lacking() == {A, B}
    counted.break_load = True
    with pytest.raises(WarehouseError, match=r"^BigQuery did not do it for demo\.clips_"):
        of_archive.publish([A, B])
    counted.break_load = False
    counted.answers = [BadRequest("Resources exceeded\nsecond line")]
    with pytest.raises(WarehouseError, match=r"Resources exceeded\. Check UT_CLIPS_BIGQUERY_DATASET"):
        of_archive.publish([A, B])
    assert _all_rows(counted, dataset, table) == before
    assert of_archive.lacking() == {A, B}
    outcome = of_archive.publish([A, B])
    assert {s: told.rows for s, told in outcome.published.items()} == {A: 2, B: 0}
    assert_equal(counted, dataset.name, archive, [table])
    assert of_archive.lacking() == set()

    put(archive, table, A, 3, "two at a time")
    put(archive, table, B, 2, "two at a time")
    _at_a_time(dataset.name, archive, table, [A, B], [B, A, C])
    assert_equal(counted, dataset.name, archive, [table])
    assert of_archive.lacking() == set()
    assert_clean(counted, dataset.name)
    assert all(t.expires > datetime.now(timezone.utc) for t in counted.created if t.table_id.startswith("staging"))


def _all_rows(client: Any, dataset: Dataset, table: type[SessionTable]) -> list[str]:
    return sorted(map(str, client.list_rows(client.get_table(dataset.id_of(table.name)))))


def _at_a_time(dataset_name: str, archive: Path, table: type[SessionTable], *published: list[str]) -> None:
    """Publish these sessions, each list by a publisher of its own."""
    together, errors = threading.Barrier(len(published)), []

    def work(session_ids: list[str]) -> None:
        try:
            with bigquery.Client(project=PROJECT) as own:
                together.wait(60)
                publisher(Dataset(own, dataset_name, sleep=lambda _: None), archive, table).publish(session_ids)
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            errors.append(error)

    threads = [threading.Thread(target=work, args=[session_ids]) for session_ids in published]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@every_test
def test_two_first_publishers_at_a_time(dataset: Dataset, counted: Counted, archive: Path) -> None:
    """Both find nothing, and create the tables: what one told may be taken back, and is published once more."""
    _at_a_time(dataset.name, archive, TranscriptsTable, [A, B], [A, B])
    assert_equal(counted, dataset.name, archive, [TranscriptsTable])
    publisher(dataset, archive, TranscriptsTable).publish([A, B])
    assert_equal(counted, dataset.name, archive, [TranscriptsTable])
    assert_clean(counted, dataset.name)


@every_test
def test_sessions_that_the_archive_has_no_more_go_with_the_next_one(
    dataset: Dataset, counted: Counted, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may ask for them any more: another one is named, and takes them along."""
    put(archive, MetadataTable, C, 1)
    publisher(dataset, archive).publish([A, B, C])
    put(archive, MetadataTable, B, 0)
    put(archive, MetadataTable, C, 0)
    assert A in publisher(dataset, archive).lacking()
    monkeypatch.setattr(publishing, "MAX_SESSIONS", 1)
    counted.transactions.clear()
    outcome = publisher(dataset, archive).publish([A])
    assert (outcome.written, outcome.withdrawn, len(counted.transactions)) == (frozenset(), {B, C}, 2)
    assert_equal(counted, dataset.name, archive, [MetadataTable])
    told = [row["session_id"] for row in counted.list_rows(counted.get_table(dataset.id_of("published_clip_metadata")))]
    assert told == [A]
    assert publisher(dataset, archive).lacking() == set()


@every_test
def test_two_accounts_in_one_dataset_leave_each_others_rows(
    dataset: Dataset, counted: Counted, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for table in TABLES:
        put(other, table, C, 2)
        for root, session_ids, account in ((archive, [A, B], ""), (other, [C], "research"), (archive, [A, B], "")):
            outcome = Publisher(dataset, table(str(root)), account).publish(session_ids)
            assert outcome.withdrawn == frozenset()
            assert Publisher(dataset, table(str(root)), account).lacking() == set()
        there = counted.list_rows(counted.get_table(dataset.id_of(table.name)))
        assert sorted(row["session_id"] for row in there) == [A] * 3 + [B] * 2 + [C] * 2
    for session_ids, account in (([A, B], ""), ([C], "research"), ([A, B], "")):
        assert View(dataset, account).publish(session_ids).keys() == set(session_ids)
        assert View(dataset, account).lacking() == set()


@every_test
def test_columns_have_their_comments_as_descriptions_also_nested_ones(
    dataset: Dataset, counted: Counted, archive: Path
) -> None:
    publisher(dataset, archive, TranscriptsTable).publish([A])
    there = counted.get_table(f"{dataset.name}.clip_transcripts")
    assert [(f.name, f.description) for f in there.schema] == [(f.name, comment_of(f)) for f in TranscriptsTable.schema]
    cues = there.schema[3]
    assert (cues.mode, [f.description for f in cues.fields][:1]) == ("REPEATED", ["ms from the clip's start"])


@every_test
def test_a_column_that_is_new_here_is_added_there_and_one_that_is_only_there_stays(
    dataset: Dataset, counted: Counted, archive: Path
) -> None:
    id_of = dataset.id_of("clip_metadata")
    old = [bigquery.SchemaField("session_id", "STRING"), bigquery.SchemaField("clip_uuid", "STRING")]
    counted.create_table(bigquery.Table(id_of, schema=[*old, bigquery.SchemaField("of_somebody", "STRING")]))
    counted.lost_updates = 1  # against another publisher that does the same
    publisher(dataset, archive).publish([A, B])
    there = counted.get_table(id_of).schema
    assert [f.name for f in there] == [
        "session_id",
        "clip_uuid",
        "of_somebody",
        *MetadataTable.schema.names[1:2],
        *MetadataTable.schema.names[3:],
    ]
    assert there[0].description == "UUID of the session: the partition key"
    found = counted._client.query(f"SELECT * EXCEPT (of_somebody) FROM `{id_of}`").result()
    here = MetadataTable(str(archive)).arrow().to_table().to_pylist()
    assert sorted((dict(r.items()) for r in found), key=_key) == sorted(here, key=_key)


@every_test
def test_a_transaction_that_lost_against_another_is_tried_anew(
    dataset: Dataset, counted: Counted, archive: Path
) -> None:
    aborted = "Transaction is aborted due to concurrent update against table demo:clips.clip_metadata."
    counted.answers = [BadRequest(aborted), BadRequest("Could not serialize access to table")]
    publisher(dataset, archive).publish([A, B])
    assert (len(counted.transactions), len(counted.loads)) == (3, 1)
    assert_equal(counted, dataset.name, archive, [MetadataTable])


@every_test
def test_whoever_commits_older_rows_last_looks_again(dataset: Dataset, counted: Counted, archive: Path) -> None:
    """Another run writes and publishes newer rows while this one has read the older ones."""
    meanwhile = [lambda: put(archive, MetadataTable, A, 1, "newer"), lambda: publisher(dataset, archive).publish([A])]
    original = counted.query

    def query(sql: str) -> Any:
        if sql.startswith("BEGIN"):
            while meanwhile:
                meanwhile.pop(0)()
        return original(sql)

    counted.query = query  # type: ignore[method-assign]
    publisher(dataset, archive).publish([A, B])
    assert_equal(counted, dataset.name, archive, [MetadataTable])
    assert publisher(dataset, archive).lacking() == set()


@every_test
def test_an_archive_that_is_not_mounted_takes_nothing_out(
    dataset: Dataset, counted: Counted, archive: Path, tmp_path: Path
) -> None:
    publisher(dataset, archive).publish([A, B])
    nowhere = publisher(dataset, tmp_path / "nowhere")
    for ask in (nowhere.lacking, lambda: nowhere.publish([A])):
        with pytest.raises(WarehouseError, match="Is it mounted"):
            ask()
    assert_equal(counted, dataset.name, archive, [MetadataTable])


@every_test
def test_a_table_that_was_dropped_is_published_anew(dataset: Dataset, counted: Counted, archive: Path) -> None:
    publisher(dataset, archive).publish([A, B])
    counted.delete_table(dataset.id_of("clip_metadata"))
    assert publisher(dataset, archive).lacking() == {A, B}
    publisher(dataset, archive).publish([A, B])
    assert_equal(counted, dataset.name, archive, [MetadataTable])


@every_test
def test_a_dataset_that_is_not_there_is_not_created(client: bigquery.Client, archive: Path) -> None:
    with pytest.raises(WarehouseError, match=r"bq mk --dataset --location=EU"):
        publisher(Dataset(client, "demo.nowhere"), archive).lacking()
    with pytest.raises(WarehouseError, match=r"bq mk --dataset --location=EU"):
        publisher(Dataset(client, "demo.nowhere"), archive).publish([A])


@every_test
def test_the_view_shows_one_row_per_clip_and_is_looked_at_again_after_each_change(
    dataset: Dataset, counted: Counted, archive: Path
) -> None:
    view = View(dataset)
    assert view.lacking() == set()
    for table in TABLES:
        publisher(dataset, archive, table).publish([A, B])
    assert view.lacking() == view.lacking([A, B]) == {A, B}
    assert {s: told.rows for s, told in view.publish([A, B]).items()} == {A: 3, B: 2}
    assert view.lacking() == set()
    found = counted._client.query(f"SELECT * FROM `{dataset.id_of('clips')}`").result()
    assert sorted((dict(r.items()) for r in found), key=_key) == sorted(_joined(archive), key=_key)

    put(archive, TranscriptsTable, A, 1, "changed")
    publisher(dataset, archive, TranscriptsTable).publish([A, B])
    assert view.lacking() == {A}
    for table in TABLES:
        put(archive, table, B, 0)
        publisher(dataset, archive, table).publish([A])
    assert view.lacking() == {A, B}
    view.publish([A])
    assert view.lacking() == set()
    told = counted.list_rows(counted.get_table(dataset.id_of("published_clips")))
    assert [row["session_id"] for row in told] == [A]


def _joined(archive: Path) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in TABLES:
            connection.register(table.name, table(str(archive)).arrow().to_table())
        rows = connection.sql(view_sql()).to_arrow_table().to_pylist()
    return [row | {"cues": row["cues"] or []} for row in rows]


@every_test
def test_a_view_that_shows_a_clip_twice_is_not_told_as_published(
    dataset: Dataset, counted: Counted, archive: Path
) -> None:
    for table in TABLES:
        publisher(dataset, archive, table).publish([A, B])
    id_of = dataset.id_of("clip_transcripts")
    counted._client.query(f"INSERT INTO `{id_of}` (session_id, clip_uuid) VALUES ('{A}', 'clip-0')").result()
    with pytest.raises(WarehouseError, match=f"does not show one row per clip of 1 sessions, {A} among them"):
        View(dataset).publish([A, B])
    assert View(dataset).lacking() == {A, B}
