"""Copies a table by its rows: the log and files of a Delta table name places and versions of their own."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import pyarrow as pa
import pyarrow.compute as pc

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.storage.session_table import found_table


def copy_table(name: str, source_uri: str, target_uri: str, keep: AbstractSet[str] = frozenset()) -> int:
    """Put the source's rows in place of the target's, in one commit; nothing is written where they are the same.

    Rows of sessions that only the target knows stay, and those of the sessions to keep; also where other runs write
    them meanwhile.

    Returns:
        The number of rows that the target holds of it now.

    Raises:
        StorageError: a table cannot be read or written, or did not arrive whole.
    """
    table = found_table(source_uri, name)
    if table is None:
        return 0
    dataset = table.arrow()
    rows = table.schema.empty_table() if dataset is None else table.fetch_arrow(dataset, None, None)
    target, known = type(table)(target_uri), set(rows["session_id"].to_pylist())

    def wanted(present: pa.Table) -> pa.Table:
        own = set(present["session_id"].to_pylist()) - known
        return pa.concat_tables([rows.filter(pc.invert(_of(rows, keep))), present.filter(_of(present, own | keep))])

    def changed(present: pa.Table) -> pa.Table | None:
        after = wanted(present)
        return None if _same(after, present) else after

    arrived = target.change(changed)
    if not _same(wanted(arrived), arrived):
        raise StorageError(f"The rows of {target.uri} are not those of {table.uri}. Copy again.")
    return len(arrived)


def _of(rows: pa.Table, sessions: AbstractSet[str]) -> pa.ChunkedArray:
    return pc.is_in(rows["session_id"], value_set=pa.array(list(sessions), pa.string()))


def _same(some: pa.Table, others: pa.Table) -> bool:
    """Whether both hold the same rows, in whatever order."""
    return len(some) == len(others) and sorted(map(repr, some.to_pylist())) == sorted(map(repr, others.to_pylist()))
