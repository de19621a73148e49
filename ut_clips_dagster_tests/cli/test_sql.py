"""`ut-clips sql`: what it knows, what it shows, what it keeps to itself."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from ut_clips_dagster.archive.rows import STORED
from ut_clips_dagster.cli.main import app
from ut_clips_dagster.cli.sql_questions import QUESTIONS
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable

SESSION = "00000000-0000-4000-8000-000000000001"
CLIP = "00000000-0000-4000-8000-00000000000a"
AT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def metadata_row(**changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(SCHEMA.names)
    return {**row, "session_id": SESSION, "clip_uuid": CLIP, "status": STORED, "listed": True, "storage_path": "a.mp4",
            "session_finished_at": AT, **changes}  # fmt: skip


def write(root: Path, *rows: dict[str, Any]) -> MetadataTable:
    table = MetadataTable.of_archive(str(root))
    table.replace(SESSION, as_rows(SCHEMA, rows or [metadata_row()]))
    return table


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use(tmp_path / "archive", monkeypatch)


def use(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(root))
    return root


def sql(query: str, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["sql", query, *options], catch_exceptions=False)
    return result.exit_code, result.output


def answer(query: str, *options: str) -> Any:
    code, output = sql(query, "--format", "json", *options)
    assert code == 0, output
    return json.loads(output)


def test_clips_joins_what_is_known_of_a_clip(root: Path) -> None:
    write(root)
    media = dict.fromkeys(MediaTable.schema.names)
    media |= {"session_id": SESSION, "clip_uuid": CLIP, "storage_path": "a.mp4", "width": 640, "problem": "no sound"}
    MediaTable.of_archive(str(root)).replace(SESSION, as_rows(MediaTable.schema, [media]))
    cues = [{"start_ms": 0, "end_ms": 5, "voice": None, "text": "hi"}]
    said = {"session_id": SESSION, "clip_uuid": CLIP, "text": "hi", "cues": cues, "words": 1}
    TranscriptsTable.of_archive(str(root)).replace(SESSION, as_rows(TranscriptsTable.schema, [said]))

    (row,) = answer("select * from clips")

    assert list(row) == clips_view.SCHEMA.names
    assert (row["storage_path"], row["width"], row["problem"]) == ("a.mp4", 640, "no sound")
    assert (row["text"], row["cues"], row["words"]) == ("hi", cues, 1)


def test_facts_of_an_earlier_cut_are_not_shown_for_the_present_one(root: Path) -> None:
    write(root, metadata_row(storage_path="a/1-2.mp4"))
    media = dict.fromkeys(MediaTable.schema.names) | {"session_id": SESSION, "clip_uuid": CLIP, "storage_path": "a.mp4"}
    MediaTable.of_archive(str(root)).replace(SESSION, as_rows(MediaTable.schema, [{**media, "width": 640}]))
    assert answer("select width from clips") == [{"width": None}]
    assert answer("select width from clip_media") == [{"width": 640}]


def test_tables_that_were_never_written_are_empty(root: Path) -> None:
    assert not root.exists()
    for table in ("clips", "clip_metadata", "clip_media", "clip_transcripts", "session_transcripts"):
        assert answer(f"select count(*) as n from {table}") == [{"n": 0}]


def test_every_column_says_what_it_is(root: Path) -> None:
    write(root)
    rows = answer("select table_name, column_name, comment from duckdb_columns() where not internal")
    comments = {(row["table_name"], row["column_name"]): row["comment"] for row in rows}
    assert all(comments.values())
    assert comments["clips", "words"] == "number of words in `text`"
    assert {column for table, column in comments if table == "clips"} == set(clips_view.SCHEMA.names)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_named_question_is_answered(root: Path, name: str) -> None:
    assert answer(name) == []
    write(root)
    assert isinstance(answer(name), list)


def test_named_questions_find_what_they_ask_for(root: Path) -> None:
    late = {"first_listed_at": AT.replace(day=5), "clip_name": "late"}
    write(
        root,
        metadata_row(**late),
        metadata_row(clip_uuid="w", status="GENERATING", storage_path=None),
        metadata_row(clip_uuid="d", listed=False),
    )
    assert [row["clip_name"] for row in answer("late")] == ["late"]
    assert [row["clip_uuid"] for row in answer("waiting")] == ["w"]
    assert [row["clip_uuid"] for row in answer("not_stored")] == ["w"]
    assert [row["clip_uuid"] for row in answer("deleted")] == ["d"]
    assert answer("without_transcript") == [
        {"session_id": SESSION, "clips": 2, "transcript": "not asked for yet", "asked_at": None, "ask_again_at": None}
    ]


def test_list_shows_the_questions() -> None:
    result = CliRunner().invoke(app, ["sql", "--list"])
    assert result.exit_code == 0
    assert all(name in result.output for name in QUESTIONS)


def test_without_a_question_it_says_what_can_be_asked(root: Path) -> None:
    result = CliRunner().invoke(app, ["sql"])
    assert (result.exit_code, "--list" in result.output, root.exists()) == (1, True, False)


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{root}/clip_metadata/x.parquet'",
        "explain analyze copy (select 1) to '{root}/clip_metadata/x.parquet'",
        "create table t as select 1",
        "drop view clips",
        "attach '{root}/x.db'",
        "install httpfs",
        "set memory_limit = '1TB'",
        "select 1; select 2",
        "",
    ],
)
def test_nothing_but_one_question_is_run(root: Path, statement: str) -> None:
    write(root)
    before = sorted(root.rglob("*"))
    code, output = sql(statement.format(root=root) or " ")
    assert (code, "select statement" in output) == (1, True), output
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    "source", ["read_text('/etc/passwd')", "read_csv('/etc/passwd')", "glob('/etc/*')", "'/etc/passwd'"]
)
def test_nothing_but_the_archive_is_read(root: Path, source: str) -> None:
    write(root)
    code, output = sql(f"select * from {source}")
    assert code == 1
    assert "root:" not in output


def test_pivot_is_a_question(root: Path) -> None:
    write(root)
    assert answer("pivot clips on status using count(*) group by study_uuid") == [{"study_uuid": None, "STORED": 1}]


@pytest.mark.parametrize("name", ["a b", "Räume für Café", "it's", 'say "hi"', "100%", "star*", "what?", "a#b"])
def test_archive_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write(use(tmp_path / name / "archive", monkeypatch))
    assert answer("select clip_uuid from clips") == [{"clip_uuid": CLIP}]
    assert answer("select clip_uuid from clips", "--as-of", "1") == [{"clip_uuid": CLIP}]


@pytest.mark.parametrize("name", ["a[1]b", "a]b", "per%20cent"])
def test_archive_whose_name_the_table_cannot_have_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use(tmp_path / name, monkeypatch)
    code, output = sql("select 1")
    assert (code, "must have none of" in output) == (1, True), output


def test_spreadsheet_runs_no_clip_name_as_a_formula(root: Path) -> None:
    names = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx", "plain", "'quoted"]
    write(root, *(metadata_row(clip_uuid=str(n), clip_name=name) for n, name in enumerate(names)))
    query = "select clip_name, -5 as number from clip_metadata order by clip_uuid"
    _, output = sql(query, "--format", "csv")
    rows = list(csv.reader(io.StringIO(output, newline="")))[1:]
    assert [row[0] for row in rows] == ["'" + name for name in names[:6]] + names[6:]
    assert {row[1] for row in rows} == {"-5"}
    assert [row["clip_name"] for row in answer(query)] == names


def test_terminal_obeys_no_clip_name(root: Path) -> None:
    write(root, metadata_row(clip_name="\x1b]0;owned\x07[bold]x[/bold]\u202e\nline"))
    for query in ("select clip_name from clips", "select * from clips"):
        code, output = sql(query)
        assert code == 0
        assert "\x1b" not in output
        assert "\u202e" not in output
        assert "[bold]x[/bold]" in output.replace("\n", "").replace(" ", "").replace("│", "")


def test_table_as_it_was_at_a_version_or_a_time(root: Path) -> None:
    table = write(root)
    between = datetime.now(timezone.utc)
    time.sleep(0.01)
    table.replace(SESSION, as_rows(SCHEMA, [metadata_row(clip_name="renamed")]))
    query = "select clip_name from clips"
    versions = {v["version"]: v["timestamp"] for v in DeltaTable(table.uri).history()}
    assert max(versions) == 2
    assert answer(query, "--as-of", "0") == []
    assert answer(query, "--as-of", "1") == answer(query, "--as-of", between.isoformat()) == [{"clip_name": None}]
    assert answer(query, "--as-of", "2") == answer(query, "--as-of", "2100-01-01") == [{"clip_name": "renamed"}]


def test_other_tables_are_read_as_they_were_at_the_same_time(root: Path) -> None:
    table = write(root)
    time.sleep(0.01)
    said = {"session_id": SESSION, "clip_uuid": CLIP, "text": "hi", "cues": [], "words": 1}
    TranscriptsTable.of_archive(str(root)).replace(SESSION, as_rows(TranscriptsTable.schema, [said]))
    time.sleep(0.01)
    table.replace(SESSION, as_rows(SCHEMA, [metadata_row()]))
    assert answer("select text from clips", "--as-of", "1") == [{"text": None}]
    assert answer("select text from clips", "--as-of", "2") == [{"text": "hi"}]


def test_time_before_the_first_version_is_an_error_and_not_the_first_version(root: Path) -> None:
    write(root)
    code, output = sql("select 1", "--as-of", "2020-01-31T12:00:00Z")
    assert code == 1
    assert "clip_metadata has no version of 2020-01-31 12:00:00 UTC: the first one that is known is 0" in " ".join(
        output.split()
    )


def test_version_that_there_is_not_and_a_time_that_is_none_are_errors(root: Path) -> None:
    write(root)
    code, output = sql("select 1", "--as-of", "7")
    assert (code, output.strip()) == (1, "clip_metadata has versions 0 to 1, and no 7.")
    code, output = sql("select 1", "--as-of", "yesterday")
    assert (code, "neither a version nor a time" in output) == (1, True)


def test_rows_that_were_vacuumed_are_said_to_be_gone(root: Path) -> None:
    table = write(root)
    write(root)
    DeltaTable(table.uri).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    code, output = sql("select * from clips", "--as-of", "1")
    assert (code, "kept for 7 days" in output) == (1, True), output


def test_archive_in_a_bucket_is_read_table_by_table(gcs_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: delta-rs holds the interpreter's lock as it reads, and the emulator is in this one."""
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", f"gs://{gcs_bucket}/archive")
    table = MetadataTable(f"gs://{gcs_bucket}/archive")
    table.replace(SESSION, as_rows(SCHEMA, [metadata_row(clip_name="in a bucket")]))
    table.replace(SESSION, as_rows(SCHEMA, [metadata_row(clip_name="renamed")]))

    assert json.loads(in_process("select clip_name from clips limit 1")) == [{"clip_name": "renamed"}]
    before = in_process("select clip_name from clip_metadata", "--as-of", "1")
    assert json.loads(before) == [{"clip_name": "in a bucket"}]


def in_process(query: str, *options: str) -> str:
    code = "from ut_clips_dagster.cli.main import app; app()"
    command = [sys.executable, "-c", code, "sql", query, "--format", "json", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
