"""What docs/querying.md says of other readers of the tables, tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable

SESSION = "00000000-0000-4000-8000-000000000001"
NAMES = ["one", "two"]


def row(number: int, name: str) -> dict[str, Any]:
    return {**dict.fromkeys(SCHEMA.names), "session_id": SESSION, "clip_uuid": f"{number}", "clip_name": name}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clips, written twice: so there are dead rows in the directory, which the table's log leaves out."""
    table = MetadataTable.of_archive(str(tmp_path))
    for suffix in (" before", ""):
        table.replace(SESSION, as_rows(SCHEMA, [row(n, f"{name}{suffix}") for n, name in enumerate(NAMES)]))
    cues = [{"start_ms": 0, "end_ms": 900, "voice": "Ann", "text": "hi"}]
    said = {"session_id": SESSION, "clip_uuid": "1", "text": "Ann: hi", "cues": cues, "words": 2}
    TranscriptsTable.of_archive(str(tmp_path)).replace(SESSION, as_rows(TranscriptsTable.schema, [said]))
    MediaTable.of_archive(str(tmp_path)).replace(SESSION, as_rows(MediaTable.schema, []))
    return tmp_path


def test_pandas(root: Path) -> None:
    frame = DeltaTable(str(root / "clip_metadata")).to_pandas()
    assert sorted(frame["clip_name"]) == NAMES


def test_polars(root: Path) -> None:
    frame = pl.scan_delta(str(root / "clip_metadata")).sort("clip_uuid").select("clip_name").collect()
    assert frame["clip_name"].to_list() == NAMES
    (cue,) = pl.scan_delta(str(root / "clip_transcripts")).collect()["cues"].to_list()[0]
    assert cue == {"start_ms": 0, "end_ms": 900, "voice": "Ann", "text": "hi"}


def test_duckdb_over_arrow_with_the_view(root: Path) -> None:
    connection = duckdb.connect()
    for name in clips_view.TABLES:
        connection.register(name, DeltaTable(str(root / name)).to_pyarrow_table())
    answer = connection.sql(f"select clip_name, text from ({clips_view.view_sql()}) order by clip_uuid").fetchall()
    assert answer == [("one", None), ("two", "Ann: hi")]


def test_duckdb_by_its_delta_extension(root: Path) -> None:
    connection = duckdb.connect()
    try:
        connection.load_extension("delta")
    except duckdb.Error:
        pytest.skip("DuckDB's delta extension is not installed here; it is downloaded from the network")
    answer = connection.sql(f"select clip_name from delta_scan('{root}/clip_metadata') order by 1").fetchall()
    assert answer == [(name,) for name in NAMES]


def test_delta_kernel(root: Path) -> None:
    kernel = pytest.importorskip("delta_kernel_rust_sharing_wrapper")
    engine = kernel.PythonInterface(f"file://{root}/clip_metadata/")
    snapshot = kernel.Table(f"file://{root}/clip_metadata/").snapshot(engine)
    rows = pa.Table.from_batches(kernel.ScanBuilder(snapshot).build().execute(engine)).to_pylist()
    assert sorted(row["clip_name"] for row in rows) == NAMES


def test_a_glob_over_the_parquet_files_counts_dead_rows(root: Path) -> None:
    files = f"{root}/clip_metadata/*.parquet"
    (count,) = duckdb.sql(f"select count(*) from read_parquet('{files}')").fetchall()[0]
    assert count == 2 * len(NAMES)
    assert DeltaTable(str(root / "clip_metadata")).to_pyarrow_table().num_rows == len(NAMES)


@pytest.mark.parametrize("table", clips_view.TABLES)
def test_every_column_has_a_comment_that_delta_readers_show(root: Path, table: str) -> None:
    fields = DeltaTable(str(root / table)).schema().fields
    assert [f.name for f in fields] == clips_view.TABLES[table].names
    assert all(f.metadata.get("comment") for f in fields)


def test_view_is_standard_sql_and_takes_any_names() -> None:
    sql = clips_view.view_sql("`p.d.clip_metadata`", "`p.d.clip_media`", "`p.d.clip_transcripts`")
    assert "FROM `p.d.clip_metadata` AS c LEFT JOIN `p.d.clip_media` AS m" in sql
    assert [f.name for f in clips_view.SCHEMA] == list(clips_view.comments())
    assert len(set(clips_view.SCHEMA.names)) == len(clips_view.SCHEMA)
