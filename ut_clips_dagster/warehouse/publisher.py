"""Publishes a table of the archive: of many sessions by one load job and one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.warehouse.dataset import Dataset
from ut_clips_dagster.warehouse.digests import digests_in, digests_of, rows_of
from ut_clips_dagster.warehouse.record import Published, Record, array, staying
from ut_clips_dagster.warehouse.schema import schema_of

MAX_SESSIONS = 1_000
"""In one transaction: its script names each of them, and BigQuery takes a megabyte of SQL."""
MAX_ROUNDS = 5
"""How often rows are published anew that were changed in the archive in the meantime."""


@dataclass(frozen=True)
class Outcome:
    """What a publication did."""

    published: Mapping[str, Published]
    """What BigQuery has of each session now; of one without rows, an empty digest."""
    written: frozenset[str]
    """Sessions whose rows were replaced; those of the others were as they are."""
    withdrawn: frozenset[str]
    """Sessions whose rows were taken out, as the archive has none of them any more."""


class Publisher:
    """Keeps an account's rows in BigQuery equal to its archive's, session by session; safe for several at a time."""

    def __init__(self, dataset: Dataset, table: SessionTable, account: str = "") -> None:
        self._dataset, self._table = dataset, table
        self._record = Record(dataset, table.name, account)
        self._is_ready = False

    def lacking(self, session_ids: Sequence[str] | None = None) -> set[str]:
        """Which of these sessions (of all when None) have other rows in BigQuery than in the archive.

        Raises:
            StorageError: the archive's table cannot be read.
            WarehouseError: BigQuery cannot be asked, or the archive is not there.
        """
        published = self._published()
        now = digests_in(self._table, session_ids)
        if session_ids is not None:
            return {session for session in session_ids if now.get(session, "") != _digest(published.get(session))}
        lacking = {s for s in now.keys() | published.keys() if now.get(s, "") != _digest(published.get(s))}
        return lacking | staying(published.keys() - now.keys(), now)

    def publish(self, session_ids: Sequence[str]) -> Outcome:
        """Make the rows of these sessions equal, and take out those of sessions that the archive has no more.

        Rows that are equal are not written again. Where it fails, BigQuery has what it had before.

        Raises:
            StorageError: the archive's table cannot be read.
            WarehouseError: BigQuery did not do it, or other runs kept changing the rows.
        """
        self._get_ready()
        published = self._published()
        gone = frozenset(published.keys() - self._in_archive() - set(session_ids))
        written: set[str] = set()
        held: dict[str, Published] = {}
        for sessions in (sorted(session_ids), sorted(gone)):
            for start in range(0, len(sessions), MAX_SESSIONS):
                some = sessions[start : start + MAX_SESSIONS]
                written |= self._make_equal(set(some), published)
                held |= {session: published.get(session, Published("", 0)) for session in some}
        return Outcome({s: held[s] for s in session_ids}, frozenset(written - gone), gone)

    def _make_equal(self, todo: set[str], published: dict[str, Published]) -> set[str]:
        """Write what differs, and keep `published` up to date; gives the sessions that were written."""
        written: set[str] = set()
        for _ in range(MAX_ROUNDS):
            rows = self._rows(sorted(todo))
            now = _described(rows)
            changed = {s for s in todo if now.get(s) != published.get(s)}
            if changed:
                self._replace(changed, rows, now)
            written |= changed
            for session in todo:
                published.pop(session, None)
            published |= now
            # Another publisher may have read older rows than these and committed them after us, or the other way
            # round: each looks again when it has committed, so that whoever is last leaves what is true by then.
            newest = digests_in(self._table, sorted(changed))
            todo = {s for s in changed if newest.get(s, "") != _digest(now.get(s))}
            if not todo:
                return written
            published |= self._record.read()
        raise WarehouseError(f"Other runs kept changing the rows of {len(todo)} sessions in {self._table.name}.")

    def _get_ready(self) -> None:
        if not self._is_ready:
            self._record.create(self._table.schema)
            self._is_ready = True

    def _replace(self, session_ids: set[str], rows: pa.Table, now: Mapping[str, Published]) -> None:
        """Replace all rows of these sessions, and what is told of them, in one transaction."""
        import pyarrow.compute as pc

        target = self._dataset.quoted(self._table.name)
        rows = rows.filter(pc.is_in(rows.column("session_id"), value_set=pa.array(sorted(session_ids), pa.string())))
        delete = f"DELETE FROM {target} WHERE session_id IN UNNEST({array(session_ids)})"  # noqa: S608
        told = self._record.statements(session_ids, {s: now[s] for s in session_ids & now.keys()})
        if not rows.num_rows:
            self._dataset.transaction([delete, *told])
            return
        columns = ", ".join(rows.schema.names)
        with self._dataset.staged(self._table.name, schema_of(self._table.schema), rows) as staging:
            insert = f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {self._dataset.quoted(staging)}"  # noqa: S608
            self._dataset.transaction([delete, insert, *told])

    def _published(self) -> dict[str, Published]:
        """What is published; to be asked only together with an archive that is there."""
        published = self._record.read()
        if published and self._table.files() is None:
            raise WarehouseError(
                f"The archive holds no table {self._table.name}, but rows of it are published. Is it mounted, and does "
                "UT_CLIPS_ARCHIVE name it? Nothing is taken out of BigQuery until then. If the table is to be gone, "
                f"drop {self._dataset.id_of(self._table.name)}."
            )
        return published

    def _in_archive(self) -> set[str]:
        dataset = self._table.arrow()
        if dataset is None:
            return set()
        found: list[str] = self._table.fetch_arrow(dataset, None, ["session_id"]).column(0).unique().to_pylist()
        return set(found)

    def _rows(self, session_ids: Sequence[str]) -> pa.Table:
        dataset = self._table.arrow()
        return self._table.schema.empty_table() if dataset is None else rows_of(self._table, dataset, session_ids)


def _described(rows: pa.Table) -> dict[str, Published]:
    counts = Counter(rows.column("session_id").to_pylist())
    return {session: Published(digest, counts[session]) for session, digest in digests_of(rows).items()}


def _digest(published: Published | None) -> str:
    return published.digest if published else ""
