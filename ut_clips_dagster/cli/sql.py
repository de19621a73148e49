"""`ut-clips sql`: DuckDB over the metadata table."""

from __future__ import annotations

import duckdb
import typer
from rich.table import Table

from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.storage.metadata_table import SCHEMA

TABLE = "clip_metadata"


def run_sql(query: str, output: str) -> None:
    """Run one query and print its answer.

    Raises:
        ClipsError: the query is wrong; DuckDB's own message says where.
    """
    dataset = archive_settings().table().arrow()
    connection = duckdb.connect()
    try:
        connection.execute("SET enable_external_access = false; SET TimeZone = 'UTC'")
        connection.register(TABLE, SCHEMA.empty_table() if dataset is None else dataset)
        answer = connection.sql(query)
    except duckdb.Error as error:
        raise ClipsError(f"The query failed: {error}") from None
    frame = answer.df()
    if output == "csv":
        typer.echo(frame.to_csv(index=False), nl=False)
    elif output == "json":
        typer.echo(frame.to_json(orient="records", date_format="iso", date_unit="us"))
    else:
        table = Table(*[str(column) for column in frame.columns])
        for row in answer.fetchall():
            table.add_row(*["" if cell is None else str(cell) for cell in row])
        console.print(table)
