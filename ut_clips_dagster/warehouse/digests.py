"""Digests of a session's rows: equal as long as the rows are, in whatever order and file they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.columns import TIMESTAMP
from ut_clips_dagster.storage.session_table import SessionTable

if TYPE_CHECKING:
    import pyarrow.dataset as ds


def digests_of(rows: pa.Table | ds.Dataset) -> dict[str, str]:
    """By session, a digest of its rows, over all columns and their names: a new column changes every digest."""
    cells = (f"'{f.name}': {f'epoch_us({f.name})' if f.type == TIMESTAMP else f.name}" for f in rows.schema)
    connection = duckdb.connect()
    try:
        connection.register("rows_of_all", rows)
        found = connection.execute(
            "SELECT session_id, md5(string_agg(digest, '' ORDER BY digest)) FROM ("  # noqa: S608 - names of our own
            f"SELECT session_id, md5(to_json({{{', '.join(cells)}}})::VARCHAR) AS digest FROM rows_of_all"
            ") GROUP BY session_id"
        ).fetchall()
    finally:
        connection.close()
    return dict(found)


def digests_in(table: SessionTable, session_ids: Sequence[str] | None = None) -> dict[str, str]:
    """The digests of these sessions' rows as the archive has them now (of all when None), read as a stream.

    Raises:
        StorageError: the table cannot be read.
    """
    dataset = table.arrow()
    if dataset is None:
        return {}
    if session_ids is not None:
        return digests_of(rows_of(table, dataset, session_ids))
    try:
        return digests_of(dataset)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise StorageError(f"Cannot read the table {table.uri}. See `ut-clips verify`.") from error


def rows_of(table: SessionTable, dataset: ds.Dataset, session_ids: Sequence[str]) -> pa.Table:
    """The rows of these sessions."""
    import pyarrow.dataset as ds

    return table.fetch_arrow(dataset, ds.field("session_id").isin(pa.array(session_ids, pa.string())), None)
