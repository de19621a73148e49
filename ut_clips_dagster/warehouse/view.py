"""The view `clips` in BigQuery, over the tables published there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.warehouse.dataset import Dataset
from ut_clips_dagster.warehouse.publisher import MAX_SESSIONS
from ut_clips_dagster.warehouse.record import Published, Record, array, literal, staying


class View:
    """Keeps the view, and tells of each session of an account that what it shows is what was published."""

    def __init__(self, dataset: Dataset, account: str = "") -> None:
        self._dataset = dataset
        self._record = Record(dataset, clips_view.VIEW, account)
        self._tables = {name: Record(dataset, name, account) for name in clips_view.TABLES}

    def lacking(self, session_ids: Sequence[str] | None = None) -> set[str]:
        """Which of these sessions (of all when None) had rows published since the view was last looked at.

        Raises:
            WarehouseError: BigQuery cannot be asked.
        """
        shown, now = self._record.read(), self._to_show()
        if session_ids is not None:
            return {session for session in session_ids if now.get(session) != shown.get(session)}
        lacking = {session for session in now.keys() | shown.keys() if now.get(session) != shown.get(session)}
        return lacking | staying(shown.keys() - now.keys(), now)

    def publish(self, session_ids: Sequence[str]) -> dict[str, Published]:
        """Create the view or bring it up to date, and count what it shows of these sessions.

        Of sessions that are gone from all tables nothing is told any more.

        Raises:
            WarehouseError: BigQuery did not do it, or the view shows other than one row per clip.
        """
        for name, schema in clips_view.TABLES.items():  # one that was never published is empty
            self._tables[name].create(schema)
        self._record.create()
        self._dataset.query(self._ddl())
        now, nothing = self._to_show(), Published("", 0)
        counts = dict(
            self._dataset.query(
                f"SELECT session_id, COUNT(*) FROM {self._dataset.quoted(clips_view.VIEW)} "  # noqa: S608
                f"WHERE session_id IN UNNEST({array(session_ids)}) GROUP BY session_id"
            )
        )
        told = {session: now[session] for session in session_ids if session in now}
        wrong = [s for s in session_ids if counts.get(s, 0) != now.get(s, nothing).rows]
        if wrong:
            raise WarehouseError(
                f"The view {self._dataset.id_of(clips_view.VIEW)} does not show one row per clip of {len(wrong)} "
                f"sessions, {wrong[0]} among them. They may be published at this moment; it is looked at again."
            )
        gone = sorted(self._record.read().keys() - now.keys() - set(session_ids))
        for start in range(0, len(gone), MAX_SESSIONS):
            self._dataset.transaction(self._record.statements(gone[start : start + MAX_SESSIONS], {}))
        self._dataset.transaction(self._record.statements(session_ids, told))
        return {session: now.get(session, nothing) for session in session_ids}

    def _to_show(self) -> dict[str, Published]:
        """By session, what was published of it in all three tables; its rows are those of clip_metadata."""
        published = {name: record.read() for name, record in self._tables.items()}
        sessions = set().union(*published.values())
        return {session: _together([published[name].get(session) for name in self._tables]) for session in sessions}

    def _ddl(self) -> str:
        columns = ", ".join(
            f"{name} OPTIONS(description={literal(comment)})" for name, comment in clips_view.comments().items()
        )
        select = clips_view.view_sql(*(self._dataset.quoted(name) for name in clips_view.TABLES))
        view = self._dataset.quoted(clips_view.VIEW)
        return (
            f"CREATE OR REPLACE VIEW {view} ({columns}) OPTIONS(description={literal(clips_view.COMMENT)}) AS {select}"
        )


def _together(of_tables: Sequence[Published | None]) -> Published:
    digests = "/".join(told.digest if told else "" for told in of_tables)
    first = of_tables[0]
    return Published(hashlib.sha256(digests.encode()).hexdigest(), first.rows if first else 0)
