"""`ut-clips sql`: DuckDB over the metadata table."""

from __future__ import annotations

from pathlib import Path

import duckdb
import typer
from rich.table import Table

from ut_clips_dagster.cli.console import console
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable

TABLE = "clip_metadata"


def run_sql(query: str, output: str) -> None:
    """Run one query and print its answer.

    Raises:
        ClipsError: the query is wrong; DuckDB's own message says where.
    """
    root = load_settings(api=False).archive  # not through the resource: Dagster takes seconds to import
    dataset = MetadataTable(root if root.startswith("gs://") else str(Path(root).absolute())).arrow()
    connection = duckdb.connect()
    try:
        connection.execute("SET enable_external_access = false; SET TimeZone = 'UTC'")
        connection.register(TABLE, SCHEMA.empty_table() if dataset is None else dataset)
        answer = connection.sql(query)
    except duckdb.Error as error:
        raise ClipsError(f"The query failed: {error}") from None
    if output == "table":
        table = Table(*answer.columns)
        for row in answer.fetchall():
            table.add_row(*["" if cell is None else str(cell) for cell in row])
        console.print(table)
        return
    frame = answer.df()
    if output == "csv":
        typer.echo(frame.to_csv(index=False), nl=False)
    else:
        typer.echo(frame.to_json(orient="records", date_format="iso", date_unit="us"))
