"""`ut-clips verify`: every document, object and row against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

import pandas as pd
from rich.table import Table

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.records import SESSIONS
from ut_clips_dagster.archive.verification import GIVE_UP_AFTER, VERIFY_AGAIN, Difference, Kind, repair_of
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.companions import companions
from ut_clips_dagster.cli.console import cell, console, say
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.cli.read_only import check_not_unmounted
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.session_table import SessionTable

MAX_NOTED = 5
REPAIR_ALL = "ut-clips repair"
ALL = "all"
UNREADABLE: Kind = "document unreadable"


@dataclass
class Findings:
    """What a verification found."""

    sessions: int = 0
    differences: list[Difference] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    """Objects that no document names: harmless, and no difference."""


def verify_archive(*, read_data: bool) -> bool:
    """Print every difference with the command that repairs it; True when there is none."""
    archive = archive_settings()
    check_mounted(archive)
    with console.status("Verifying the archive"):
        found = verify(archive, read_data=read_data)
    _print_unrecorded(found.unrecorded)
    if not found.differences:
        how = "every byte read" if read_data else "sizes and checksums"
        result = "documents, objects and rows agree." if found.sessions else _nothing_stored(archive)
        say(f"{counted(found.sessions, 'session')} verified ({how}): {result}")
        return True
    table = Table("difference", "session", "what", title=counted(len(found.differences), "difference"))
    for d in found.differences:
        table.add_row(cell(d.kind), cell(d.session_id), cell(d.what))
    console.print(table)
    console.print("What repairs them:")
    for command in dict.fromkeys(d.repair for d in found.differences):
        say(f"  {command}")
    return False


def check_mounted(archive: ArchiveResource) -> None:
    """Raise StorageError where nothing is there and should be; a table that is lost beside its documents is mended."""
    if next(iter(archive.store().walk(SESSIONS)), None) is None:
        check_not_unmounted(load_settings(api=False))


def verify(archive: ArchiveResource, *, read_data: bool) -> Findings:
    """Compare everything with each other. Changes nothing.

    What differs is looked at again, with its rows read anew: runs go on writing meanwhile, and a session that was
    finished after the tables were read is no difference.

    Raises:
        StorageError: the store cannot be read at all, or `GIVE_UP_AFTER` sessions one after another cannot.
    """
    session_ids = documented_sessions(archive)
    found = _look(archive, session_ids, read_data=read_data, give_up_after=GIVE_UP_AFTER)
    if doubtful := [each for each in found.differences if is_uuid(each)]:
        again = _look(archive, [each for each in doubtful if _is_documented(archive, each)], read_data=read_data)
        found.recorded |= again.recorded
        still = {*found.differences, ALL}
        found.differences = {each: told for each, told in again.differences.items() if each in still}
    differences = [difference for told in found.differences.values() for difference in told]
    unreadable = {each.session_id for each in differences if each.kind == UNREADABLE}  # nobody knows what they record
    unrecorded = verification.unrecorded(archive.store(), found.recorded)
    return Findings(
        len(session_ids), differences, [path for path in unrecorded if unreadable.isdisjoint(path.split("/"))]
    )


@dataclass
class _Looked:
    """What one look found; differences by session, and under ALL what is of none."""

    differences: dict[str, list[Difference]] = field(default_factory=dict)
    recorded: set[str] = field(default_factory=set)


def _look(
    archive: ArchiveResource, session_ids: Sequence[str], *, read_data: bool, give_up_after: float = inf
) -> _Looked:
    store, records, looked = archive.store(), archive.records(), _Looked()
    table = _Rows(archive.table(), looked)
    beside = [(companion, _Rows(companion.table, looked)) for companion in companions(archive)]
    unreadable_in_a_row = 0
    for session_id in session_ids:
        told: list[Difference] = []
        rows, others = table.take(session_id), [its_table.take(session_id) for _, its_table in beside]
        try:
            inspection = records.inspect(session_id)
            looked.recorded.update(file.storage_path for file in inspection.record.clip_files.files)
            told += verification.session_differences(inspection, rows, store, read_data=read_data)
            for (companion, _), its_rows in zip(beside, others, strict=True):
                checked = companion.check(inspection.record, its_rows, read_data=read_data)
                told += checked.differences
                looked.recorded |= checked.recorded
        except StorageError as error:
            unreadable_in_a_row += 1
            if unreadable_in_a_row > give_up_after:
                raise
            told.append(Difference(UNREADABLE, session_id, str(error), VERIFY_AGAIN))
        else:
            unreadable_in_a_row = 0
        if told:
            looked.differences[session_id] = told
    for rest in (table, *(its_table for _, its_table in beside)):
        for difference in _rows_without_documents(rest.name, rest.by_session):
            looked.differences.setdefault(difference.session_id or ALL, []).append(difference)
    return looked


def _is_documented(archive: ArchiveResource, session_id: str) -> bool:
    return any(path.endswith(".json") for path in archive.store().walk(f"{SESSIONS}{session_id}/"))


def documented_sessions(archive: ArchiveResource) -> list[str]:
    """All sessions that have a document, sorted."""
    paths = (path.split("/") for path in archive.store().walk(SESSIONS) if path.endswith(".json"))
    return sorted({parts[1] for parts in paths if is_uuid(parts[1])})


class _Rows:
    """A table's rows by the session they name, rows that name none under the empty text; taken session by session."""

    def __init__(self, table: SessionTable, looked: _Looked) -> None:
        self.name = table.name
        rows: pd.DataFrame | None = None
        try:
            rows = table.read()
        except StorageError as error:
            unreadable = Difference("table unreadable", ALL, str(error), REPAIR_ALL)
            looked.differences.setdefault(ALL, []).append(unreadable)
        self._empty = None if rows is None else rows.iloc[:0]
        groups = () if rows is None else rows.groupby(rows["session_id"].fillna(""))
        self.by_session = {str(key): group for key, group in groups}

    def take(self, session_id: str) -> pd.DataFrame | None:
        """The session's rows; None when the table cannot be read."""
        return self.by_session.pop(session_id, self._empty)


def _rows_without_documents(table: str, by_session: dict[str, pd.DataFrame]) -> Iterator[Difference]:
    for session_id, rows in by_session.items():
        if is_uuid(session_id):
            what = f"{table} holds {len(rows)} rows of a session without documents"
            yield Difference("document missing", session_id, what, repair_of(session_id))
        else:
            yield Difference("rows differ", session_id, f"{len(rows)} rows of {table} name no session", REPAIR_ALL)


def _nothing_stored(archive: ArchiveResource) -> str:
    """No difference, as every archive begins like this; but perhaps not the place that was meant."""
    return f"no session is stored in {archive.store().uri} yet. If the archive is elsewhere, correct UT_CLIPS_ARCHIVE."


def _print_unrecorded(paths: Sequence[str]) -> None:
    if not paths:
        return
    more = f", and {len(paths) - MAX_NOTED} more" if len(paths) > MAX_NOTED else ""
    say(
        f"Note: no session records {counted(len(paths), 'object')}, left by a killed run or replaced by a repair, "
        f"which is no harm: {', '.join(paths[:MAX_NOTED])}{more}"
    )
