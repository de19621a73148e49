"""What BigQuery answers, in words."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as JobTimeoutError
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from google.cloud.bigquery import Row, SchemaField, Table
from requests.exceptions import ConnectionError as NoConnectionError

from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.warehouse.dataset import Dataset, is_conflict
from ut_clips_dagster.warehouse.record import SCHEMA, Published, Record

UPLOAD = "PUT https://bigquery.googleapis.com/upload/bigquery/v2/projects/p/jobs?uploadType=resumable&upload_id=s3cret"


class Failing:
    """A client of which every request fails so."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _name: str) -> Any:
        def fail(*_args: Any, **_kwargs: Any) -> Any:
            raise self._error

        return fail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden(f"{UPLOAD}: Access Denied: Dataset p:d\nLocation: EU"), "Access Denied: Dataset p:d"),
        (ServiceUnavailable(f"{UPLOAD}: "), "ServiceUnavailable"),
        (NoConnectionError(f"Max retries exceeded with url: {UPLOAD}"), "ConnectionError"),
        (JobTimeoutError(), "TimeoutError"),
    ],
)
def test_a_failure_is_told_without_the_address_which_may_let_others_in(error: Exception, told: str) -> None:
    dataset = Dataset(Failing(error), "p.d")  # type: ignore[arg-type]
    for ask in (lambda: dataset.has("clips"), lambda: dataset.query("SELECT 1"), lambda: dataset.transaction([])):
        with pytest.raises(WarehouseError) as raised:
            ask()
        assert str(raised.value).startswith(f"BigQuery did not do it for p.d: {told}. Check UT_CLIPS_BIGQUERY_DATASET")
        assert "s3cret" not in str(raised.value)
        assert not is_conflict(error)


class Holding:
    """A client of a dataset all of whose tables hold these rows."""

    def __init__(self, schema: Sequence[SchemaField], *rows: tuple[Any, ...]) -> None:
        self._schema, self._rows = list(schema), rows

    def get_table(self, table_id: str) -> Table:
        return Table(table_id, self._schema)

    def list_rows(self, _table: Table, fields: list[SchemaField]) -> list[Row]:
        names = [field.name for field in self._schema]
        at = {field.name: number for number, field in enumerate(fields)}
        return [Row(tuple(row[names.index(name)] for name in at), at) for row in self._rows]


def test_an_account_is_told_of_its_own_sessions_only_and_withdraws_no_others() -> None:
    """Where none is noted, as before there was such a column, it is the account without a name."""
    rows = (("a", "1", 1, None, None), ("b", "2", 2, None, "research"), ("c", "3", 3, None, ""))
    dataset = Dataset(Holding(SCHEMA, *rows), "p.d")  # type: ignore[arg-type]
    before = Dataset(Holding(SCHEMA[:4], ("a", "1", 1, None)), "p.d")  # type: ignore[arg-type]

    assert Record(dataset, "clips").read() == {"a": Published("1", 1), "c": Published("3", 3)}
    assert Record(dataset, "clips", "research").read() == {"b": Published("2", 2)}
    assert Record(before, "clips").read() == {"a": Published("1", 1)}
    assert Record(before, "clips", "research").read() == {}
    _, insert = Record(dataset, "clips", "research").statements(["d"], {"d": Published("4", 4)})
    assert insert.endswith("published_at, account) VALUES ('d', '4', 4, CURRENT_TIMESTAMP(), 'research')")
