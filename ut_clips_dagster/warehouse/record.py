"""The record of what is published: by session, the digest of the rows that BigQuery has.

It lies in BigQuery beside the rows, and is written in the same transaction: so it is never ahead of them nor behind,
whoever publishes from wherever, and a dataset that is dropped is published anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
from google.cloud.bigquery import SchemaField

from ut_clips_dagster.warehouse.dataset import Dataset
from ut_clips_dagster.warehouse.schema import schema_of

SCHEMA = [
    SchemaField("session_id", "STRING", description="UUID of the session"),
    SchemaField("digest", "STRING", description="digest of the rows that are published of it"),
    SchemaField("row_count", "INTEGER", description="their number"),
    SchemaField("published_at", "TIMESTAMP", description="when they were, UTC"),
    SchemaField("account", "STRING", description="UT_CLIPS_ACCOUNT of whose archive they are; empty without one"),
]


@dataclass(frozen=True)
class Published:
    """What is published of one session."""

    digest: str
    rows: int


class Record:
    """The record of one table, a table `published_<table>`: of its own, so that two tables never conflict.

    Accounts share it. Each is told of its own sessions only, as no other archive can tell which of them are gone.
    """

    def __init__(self, dataset: Dataset, table: str, account: str = "") -> None:
        self._dataset, self._of, self._account = dataset, table, account
        self.table = f"published_{table}"

    def read(self) -> dict[str, Published]:
        """What the account has published, by session; nothing where the table or the record is not there."""
        if not self._dataset.has(self._of) or not self._dataset.has(self.table):
            return {}
        rows = self._dataset.rows(self.table, ("session_id", "digest", "row_count", "account"))
        return {
            session_id: Published(digest, count)
            for session_id, digest, count, account in rows
            if (account or "") == self._account  # the column came later
        }

    def create(self, schema: pa.Schema | None = None) -> None:
        """Create the record where there is none, and with a schema the table it tells of: of a new one nothing is told.

        Of two that create them at a time, one may take back what the other has told: then it is published once more.
        """
        anew = schema is not None and self._dataset.create(
            self._of, schema_of(schema), f"{self._of} of ut_clips_dagster's archive."
        )
        created = self._dataset.create(self.table, SCHEMA, f"ut_clips_dagster's own: what `{self._of}` holds.")
        if anew and not created:
            self._dataset.transaction([f"DELETE FROM {self._dataset.quoted(self.table)} WHERE TRUE"])  # noqa: S608

    def statements(self, session_ids: Iterable[str], published: Mapping[str, Published]) -> list[str]:
        """The statements that replace what is told of these sessions; those without rows are told of no more."""
        table = self._dataset.quoted(self.table)
        statements = [f"DELETE FROM {table} WHERE session_id IN UNNEST({array(session_ids)})"]  # noqa: S608
        if published:
            account = literal(self._account)
            values = ", ".join(
                f"({literal(session)}, {literal(told.digest)}, {told.rows}, CURRENT_TIMESTAMP(), {account})"
                for session, told in published.items()
            )
            columns = ", ".join(field.name for field in SCHEMA)
            statements.append(f"INSERT INTO {table} ({columns}) VALUES {values}")  # noqa: S608 - literals, escaped
        return statements


def staying(gone: Collection[str], there: Collection[str]) -> set[str]:
    """When sessions are gone, one that is there: the others may be no partitions, and go with its publication."""
    return {min(there)} if gone and there else set()


def array(texts: Iterable[str]) -> str:
    """An array literal; the parameters of a script are a thing that the emulator does not know."""
    return f"[{', '.join(map(literal, sorted(texts)))}]"


def literal(text: str) -> str:
    """A text in GoogleSQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"
