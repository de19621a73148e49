"""`ut-clips sql`: questions to the archive's tables."""

from __future__ import annotations

import duckdb
from rich.table import Table

from ut_clips_dagster.cli.console import cell, console
from ut_clips_dagster.cli.read_only import check_not_unmounted
from ut_clips_dagster.cli.sql_engine import connected
from ut_clips_dagster.cli.sql_output import print_csv, print_json, print_table
from ut_clips_dagster.cli.sql_questions import QUESTIONS
from ut_clips_dagster.errors import ClipsError, SettingsError
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.table_versions import AsOf

PRINTERS = {"csv": print_csv, "json": print_json, "table": print_table}


def run_sql(query: str | None, output: str, as_of: str | None = None) -> None:
    """Run one query, or the question of that name, and print its answer.

    Raises:
        ClipsError: the query is wrong; DuckDB's own message says where.
    """
    if not query:
        raise SettingsError("Give a select statement, or the name of a question: `ut-clips sql --list` shows them.")
    sql = QUESTIONS[query].sql if query in QUESTIONS else query
    settings = load_settings(api=False)
    check_not_unmounted(settings)
    root = settings.archive  # not the resource: Dagster takes seconds
    when = None if as_of is None else AsOf.parse(as_of)
    with connected(root, sql, when) as connection:
        try:
            answer = connection.execute(sql)
            columns, rows = [column[0] for column in answer.description or ()], answer.fetchall()
        except duckdb.Error as error:
            raise ClipsError(f"The query failed: {error}") from None
    PRINTERS[output](columns, rows)


def list_questions() -> None:
    """Print the questions that have a name."""
    printed = Table("name", "asks for")
    for name, question in QUESTIONS.items():
        printed.add_row(cell(name), cell(question.asks))
    console.print(printed)
