"""DuckDB over the archive's tables: to read them, and nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from ut_clips_dagster.errors import ClipsError, StorageError
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.columns import checked, comment_of
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable
from ut_clips_dagster.storage.table_versions import AsOf, Version, find_version, gone, load
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable

TABLES: tuple[type[SessionTable], ...] = (MetadataTable, MediaTable, TranscriptsTable, SessionTranscriptsTable)
MEMORY_LIMIT = "2GB"
"""What a query needs more of goes to a temporary directory."""
QUESTIONS_ONLY = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)
"""A `PIVOT` counts as several statements."""
_GLOB = frozenset("*?[]")
"""A path with one of these is a pattern for DuckDB, whatever the file's name is."""


@contextmanager
def connected(root: str, query: str, as_of: AsOf | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows the archive's tables and the view `clips`, and can neither write nor read anything else.

    Args:
        root: the archive.
        query: what will be asked: of a bucket only the tables that it names are read.
        as_of: read the tables as they were then; None is now.

    Raises:
        ClipsError: the query is no question, or a table cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="ut-clips-sql-") as spill, duckdb.connect() as connection:
        _check(connection, query)
        named = _named(connection, query)
        tables = [kind.of_archive(root) for kind in TABLES]
        local = "://" not in root
        if local:
            directories = ", ".join(_quoted(f"{table.uri}/") for table in tables)
            connection.execute(f"SET allowed_directories = [{directories}]")
        connection.execute(f"SET temp_directory = {_quoted(spill)}; SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("SET enable_external_access = false; SET TimeZone = 'UTC'")
        moment = None
        for table in tables:
            if not local and table.name not in named and not (as_of and moment is None):
                _register(connection, table, None, read=False)
                continue
            opened, version = _open(table, as_of, moment)
            moment = moment or (version.committed_at if version else None)
            try:
                _register(connection, table, opened, read=local or table.name in named)
            except FileNotFoundError:
                raise (gone(table.name, version) if version else StorageError(f"{table.uri} lacks files.")) from None
        _describe(connection, tables)
        connection.execute("SET lock_configuration = true")
        yield connection


def _check(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    try:
        query.encode()  # DuckDB would say so in words of its binding
        statements = connection.extract_statements(query)
    except (duckdb.Error, UnicodeEncodeError) as error:
        raise ClipsError(f"The query failed: {error}") from None
    if len(statements) != 1 or statements[0].type not in QUESTIONS_ONLY:
        raise ClipsError("Only questions are answered: give one select statement. Nothing was run.")


def _named(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """Tables that a query names, as far as DuckDB tells; all of them where it does not."""
    everything = {table.name for table in TABLES}
    try:
        named = set(connection.get_table_names(query))
    except duckdb.Error:
        return everything
    return everything if clips_view.VIEW in named else named


def _open(table: SessionTable, as_of: AsOf | None, moment: datetime | None) -> tuple[DeltaTable | None, Version | None]:
    """A table as it was: the first one (clip_metadata) decides the moment, the others may not have been there yet."""
    opened = table.open()
    if as_of is None or opened is None:
        return opened, None
    if moment is None:
        version = find_version(opened, as_of, table.name)
    else:
        try:
            version = find_version(opened, AsOf(moment=as_of.moment or moment), table.name)
        except StorageError:
            return None, None
    load(opened, version, table.name)
    return opened, version


def _register(
    connection: duckdb.DuckDBPyConnection, table: SessionTable, opened: DeltaTable | None, *, read: bool
) -> None:
    """Make a table known: DuckDB reads the files of a directory itself, as much of them as a query needs."""
    if opened is None or not read:
        connection.register(table.name, table.schema.empty_table())
        return
    files = [unquote(uri) for uri in opened.file_uris()] if "://" not in table.uri else []
    if not all(Path(file).exists() for file in files):
        raise FileNotFoundError
    if files and not _GLOB & set(table.uri):
        names = ", ".join(map(_quoted, files))
        # a file written before a column was added lacks it
        source = f"read_parquet([{names}], union_by_name = true)"
        present = {str(row[0]) for row in connection.execute(f"DESCRIBE FROM {source}").fetchall()}
        columns = ", ".join(
            f.name if f.name in present else f"CAST(NULL AS {_duckdb_type(f)}) AS {f.name}" for f in table.schema
        )
        connection.execute(f"CREATE VIEW {table.name} AS SELECT {columns} FROM {source}")  # noqa: S608 - our names
        return
    dataset = opened.to_pyarrow_dataset(schema=table.schema)
    with connection.cursor() as loading:  # into DuckDB's own memory, which has a limit: Arrow's has none
        loading.register(
            "arriving", pa.RecordBatchReader.from_batches(table.schema, map(checked, dataset.to_batches()))
        )
        try:
            loading.execute(f"CREATE TABLE {table.name} AS SELECT * FROM arriving")  # noqa: S608 - our names
        except duckdb.Error as error:
            raise (FileNotFoundError if "not found" in str(error).lower() else StorageError)(
                f"{table.uri} cannot be read: {str(error).splitlines()[0][:200]}"
            ) from None


def _duckdb_type(field: pa.Field) -> str:
    with duckdb.connect() as scratch:
        scratch.register("one", pa.schema([field]).empty_table())
        return str(scratch.execute("DESCRIBE one").fetchall()[0][1])


def _describe(connection: duckdb.DuckDBPyConnection, tables: list[SessionTable]) -> None:
    """The view, and what each column says; `select * from duckdb_columns()` shows it."""
    connection.execute(f"CREATE VIEW {clips_view.VIEW} AS {clips_view.view_sql()}")
    connection.execute(f"COMMENT ON VIEW {clips_view.VIEW} IS {_quoted(clips_view.COMMENT)}")
    described = {clips_view.VIEW: clips_view.SCHEMA, **{table.name: table.schema for table in tables}}
    for name, schema in described.items():
        for field in schema:
            connection.execute(f"COMMENT ON COLUMN {name}.{field.name} IS {_quoted(comment_of(field) or '')}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
