"""Columns of the archive's tables, and their rows as Arrow and as pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and not needed by `ut-clips sql`

COMMENT = "comment"
"""Name of a column's metadata that Delta readers show as its comment."""
TIMESTAMP = pa.timestamp("us", tz="UTC")
Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)
_DTYPES: dict[pa.DataType, Any] = {
    pa.string(): "string",
    pa.int64(): "Int64",
    pa.float64(): "Float64",
    pa.bool_(): "boolean",
    TIMESTAMP: "datetime64[us, UTC]",
}


def column(name: str, kind: pa.DataType, comment: str) -> pa.Field:
    """A column of a table's schema; its comment is kept in the Delta table and shown by Dagster."""
    return pa.field(name, kind, metadata={COMMENT: comment})


def comment_of(field: pa.Field) -> str | None:
    """What a column's comment says."""
    return (field.metadata or {}).get(COMMENT.encode(), b"").decode() or None


def as_rows(schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a DataFrame with the schema's columns and nullable dtypes; timestamps are UTC microseconds."""
    import pandas as pd

    columns = {
        field.name: pd.Series([row[field.name] for row in rows], dtype=_DTYPES.get(field.type, object))
        for field in schema
    }
    return pd.DataFrame(columns)


def checked(rows: Rows) -> Rows:
    """The same rows, once their texts are known to be UTF-8: a damaged file may hold others, and Arrow does not look.

    Raises:
        pa.ArrowInvalid: they are not.
    """
    rows.validate(full=True)
    return rows


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a DataFrame with the contract's nullable dtypes."""
    import pandas as pd

    frame = table.to_pandas(
        types_mapper={t: pd.api.types.pandas_dtype(d) for t, d in _DTYPES.items() if t != TIMESTAMP}.get
    )
    return frame.reset_index(drop=True)
