"""The tables' columns as BigQuery knows them, each with its comment as its description."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
from google.cloud.bigquery import SchemaField

from ut_clips_dagster.storage.columns import TIMESTAMP, comment_of

_TYPES: dict[pa.DataType, str] = {
    pa.string(): "STRING",
    pa.int64(): "INTEGER",
    pa.float64(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    TIMESTAMP: "TIMESTAMP",
}


def schema_of(fields: Iterable[pa.Field]) -> list[SchemaField]:
    """The columns in BigQuery's words; a list is a repeated column, which is empty where the list is null."""
    return [_field(field) for field in fields]


def _field(field: pa.Field) -> SchemaField:
    kind, mode = field.type, "NULLABLE"
    if pa.types.is_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    nested = schema_of(kind) if pa.types.is_struct(kind) else ()
    name = "RECORD" if nested else _TYPES[kind]
    return SchemaField(field.name, name, mode, description=comment_of(field) or "", fields=nested)


def merged(there: Sequence[SchemaField], ours: Sequence[SchemaField]) -> list[SchemaField]:
    """The columns that are there, described as ours are, and then those of ours that are not.

    Nothing is dropped, and no type changed: what somebody added, or an older version had, stays.
    """
    by_name = {field.name.lower(): field for field in ours}
    names = {field.name.lower() for field in there}
    kept = [_described(field, by_name.get(field.name.lower())) for field in there]
    return [*kept, *(field for field in ours if field.name.lower() not in names)]


def _described(there: SchemaField, ours: SchemaField | None) -> SchemaField:
    if ours is None:
        return there
    api = there.to_api_repr() | {"description": ours.description}
    if ours.fields:
        api["fields"] = [field.to_api_repr() for field in merged(there.fields, ours.fields)]
    return SchemaField.from_api_repr(api)
