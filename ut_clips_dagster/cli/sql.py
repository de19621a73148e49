"""`ut-clips sql`: DuckDB over the metadata table."""

from __future__ import annotations

import csv
import json
import sys
from datetime import date, datetime

import duckdb
import typer
from rich.table import Table

from ut_clips_dagster.cli.console import console
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable

TABLE = "clip_metadata"
NARROWEST_COLUMN = 9


def run_sql(query: str, output: str) -> None:
    """Run one query and print its answer.

    Raises:
        ClipsError: the query is wrong; DuckDB's own message says where.
    """
    table = MetadataTable.of_archive(load_settings(api=False).archive)  # not the resource: Dagster takes seconds
    connection = duckdb.connect()
    try:
        _register(connection, table)
        answer = connection.sql(query)
    except duckdb.Error as error:
        raise ClipsError(f"The query failed: {error}") from None
    if answer is None:
        raise ClipsError("Nothing was asked: give one select statement.")
    columns, rows = answer.columns, answer.fetchall()
    if output == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_plain(cell) for cell in row] for row in rows)
    elif output == "json":
        objects = [dict(zip(columns, (_plain(cell) for cell in row), strict=True)) for row in rows]
        typer.echo(json.dumps(objects, ensure_ascii=False))
    elif len(columns) * NARROWEST_COLUMN > console.width:
        _print_records(columns, rows)
    else:
        printed = Table(*columns)
        for row in rows:
            printed.add_row(*[_shown(cell) for cell in row])
        console.print(printed)


def _print_records(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    """One line per value: more columns than fit beside each other."""
    width = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        console.rule(f"row {number} of {len(rows)}", align="left")
        for column, cell in zip(columns, row, strict=True):
            console.print(f"{column:{width}}  {_shown(cell)}", markup=False, highlight=False, soft_wrap=True)


def _shown(cell: object) -> str:
    return "" if cell is None else str(_plain(cell))


def _plain(cell: object) -> object:
    """A value as JSON and CSV know it; times in ISO 8601."""
    if isinstance(cell, (datetime, date)):
        return cell.isoformat()
    return cell if cell is None or isinstance(cell, (str, int, float, bool)) else str(cell)


def _register(connection: duckdb.DuckDBPyConnection, table: MetadataTable) -> None:
    """Make the table known to DuckDB, and nothing else: it reads the files of a directory itself, the fastest way."""
    files = table.files()
    local = bool(files) and "://" not in table.uri
    if local:
        connection.execute(f"SET allowed_directories = [{_quoted(table.uri + '/')}]")
    connection.execute("SET enable_external_access = false; SET TimeZone = 'UTC'")
    if files and local:
        names = ", ".join(_quoted(file) for file in files)
        connection.execute(f"CREATE VIEW {TABLE} AS SELECT * FROM read_parquet([{names}])")  # noqa: S608 - our names
    else:
        dataset = table.arrow()
        # read at once: a scan that a LIMIT leaves behind crashes the interpreter when it ends
        connection.register(TABLE, SCHEMA.empty_table() if dataset is None else dataset.to_table())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
