"""A BigQuery dataset: its tables, load jobs and transactions, with what may go wrong told in words."""

from __future__ import annotations

import io
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as JobTimeoutError  # up to Python 3.10 not the built-in one
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tenacity
from google.api_core.exceptions import Conflict, GoogleAPICallError, GoogleAPIError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.warehouse.schema import merged

MAX_TRANSACTIONS = 12
MAX_SCHEMA_UPDATES = 5
JOB_TIMEOUT_S = 900.0
STAGING_LIVES = timedelta(hours=6)
"""A staging table is deleted when its rows are published; of a process that was killed, BigQuery deletes it then."""
CONFLICTS = ("concurrent update", "transaction is aborted", "could not serialize")
"""What BigQuery says of a transaction that lost against another one."""


class Dataset:
    """One dataset, which must be there: where its data may lie is for people to decide.

    Every method raises WarehouseError when BigQuery does not do what is asked.
    """

    def __init__(self, client: bigquery.Client, name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.client = client
        self.name = name
        self._sleep = sleep

    def id_of(self, table: str) -> str:
        """A table's whole name."""
        return f"{self.name}.{table}"

    def quoted(self, table: str) -> str:
        """The same as SQL has it."""
        return f"`{self.id_of(table)}`"

    def has(self, table: str) -> bool:
        """Whether the table is there."""
        with self._asking():
            return self._get(table) is not None

    def create(self, table: str, schema: Sequence[bigquery.SchemaField], description: str) -> bool:
        """Create a table where there is none; False where there is one, whose columns are then brought up to date."""
        wanted = bigquery.Table(self.id_of(table), schema=schema)
        wanted.clustering_fields = ["session_id"]
        wanted.description = description
        with self._asking():
            if self._get(table) is None:
                with suppress(Conflict):  # another run created it this moment
                    self.client.create_table(wanted)
                    return True
            updating = tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(PreconditionFailed),  # another run brings it up to date, too
                stop=tenacity.stop_after_attempt(MAX_SCHEMA_UPDATES),
                wait=tenacity.wait_random_exponential(multiplier=1, max=10),
                sleep=self._sleep,
                reraise=True,
            )
            updating(self._add_drift, table, schema)
            return False

    def _get(self, table: str) -> bigquery.Table | None:
        """The table, or None; raises NotFound where there is no such dataset."""
        try:
            return self.client.get_table(self.id_of(table))
        except NotFound:
            self.client.get_dataset(self.name)
            return None

    def _add_drift(self, table: str, schema: Sequence[bigquery.SchemaField]) -> None:
        there = self.client.get_table(self.id_of(table))
        names = {field.name.lower() for field in there.schema}
        missing = [f for f in schema if f.name.lower() not in names and f.field_type != "RECORD"]
        for field in missing:  # in SQL, where two that add the same one at a time are no failure
            sql = f"ALTER TABLE {self.quoted(table)} ADD COLUMN IF NOT EXISTS {field.name} {_sql_type(field)}"
            self.client.query(sql).result(timeout=JOB_TIMEOUT_S)
        if missing:
            there = self.client.get_table(self.id_of(table))
        wanted = merged(there.schema, schema)
        if wanted != there.schema:
            there.schema = wanted
            self.client.update_table(there, ["schema"])

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """All rows of a table, in some of its columns, None where there is no such; not by a query, so at no cost."""
        with self._asking():
            there = self.client.get_table(self.id_of(table))
            for row in self.client.list_rows(there, [f for f in there.schema if f.name in columns]):
                yield tuple(row.get(name) for name in columns)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._asking():
            return [row.values() for row in self.client.query(sql).result(timeout=JOB_TIMEOUT_S)]

    def transaction(self, statements: Sequence[str]) -> None:
        """All of these statements, or none; one that lost against another transaction is tried anew, with jitter."""
        sql = ";\n".join(["BEGIN TRANSACTION", *statements, "COMMIT TRANSACTION"]) + ";"
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_conflict),
            stop=tenacity.stop_after_attempt(MAX_TRANSACTIONS),
            wait=tenacity.wait_random_exponential(multiplier=1, max=30),
            sleep=self._sleep,
            reraise=True,
        )
        with self._asking():
            retrying(lambda: self.client.query(sql).result(timeout=JOB_TIMEOUT_S))

    @contextmanager
    def staged(self, table: str, schema: Sequence[bigquery.SchemaField], rows: pa.Table) -> Iterator[str]:
        """Load rows into a table of its own, by one job; gives its name, and deletes it afterwards."""
        name = f"staging_{table}_{uuid.uuid4().hex}"
        staging = bigquery.Table(self.id_of(name), schema=schema)
        staging.expires = datetime.now(timezone.utc) + STAGING_LIVES
        try:
            with self._asking():
                self.client.create_table(staging)
                self._load(name, schema, rows)
            yield name
        finally:
            with suppress(GoogleAPIError, GoogleAuthError, OSError):  # it expires
                self.client.delete_table(self.id_of(name), not_found_ok=True)

    def _load(self, name: str, schema: Sequence[bigquery.SchemaField], rows: pa.Table) -> None:
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            schema=schema,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        )
        config.parquet_options = bigquery.ParquetOptions()  # type: ignore[no-untyped-call]
        config.parquet_options.enable_list_inference = True  # else a list is a record with a column `list`
        file = io.BytesIO()
        pq.write_table(rows, file)
        job = self.client.load_table_from_file(
            file, self.id_of(name), rewind=True, job_config=config, timeout=JOB_TIMEOUT_S
        )
        job.result(timeout=JOB_TIMEOUT_S)
        if job.output_rows != rows.num_rows:
            raise WarehouseError(f"BigQuery loaded {job.output_rows} of {rows.num_rows} rows; none was published.")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            raise WarehouseError(
                f"BigQuery does not find all of {self.name}: {_reason(error)}. A dataset is not created for you, as "
                "you decide where its data lies: `bq mk --dataset --location=EU project:dataset`."
            ) from error
        except (GoogleAPIError, GoogleAuthError, OSError, JobTimeoutError) as error:
            raise WarehouseError(
                f"BigQuery did not do it for {self.name}: {_reason(error)}. Check UT_CLIPS_BIGQUERY_DATASET and that "
                "the account may run jobs and edit the dataset (docs/warehouse.md)."
            ) from error


def is_conflict(error: BaseException) -> bool:
    """Whether a transaction lost against another one."""
    return isinstance(error, GoogleAPICallError) and any(words in str(error).lower() for words in CONFLICTS)


def _sql_type(field: bigquery.SchemaField) -> str:
    name = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}.get(field.field_type, field.field_type)
    return f"ARRAY<{name}>" if field.mode == "REPEATED" else name


def _reason(error: Exception) -> str:
    """The first line of what Google says, without the address, which may hold an upload's ID; else the error's kind."""
    lines = str(error.message).splitlines() if isinstance(error, GoogleAPICallError) else []
    told = re.sub(r"^[A-Z]+ (?=https?://)", "", lines[0]) if lines else ""
    told = re.sub(r"https?://\S+\s*", "", told)
    return told[:300].rstrip(". ") or type(error).__name__
