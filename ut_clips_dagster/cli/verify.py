"""`ut-clips verify`: every document, object and row against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd
from rich.table import Table

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.plan import counted
from ut_clips_dagster.archive.records import SESSIONS
from ut_clips_dagster.archive.verification import Difference, repair_of
from ut_clips_dagster.cli.companions import companions
from ut_clips_dagster.cli.console import cell, console, say
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.storage.session_table import SessionTable

MAX_NOTED = 5
REPAIR_ALL = "ut-clips repair"


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


def verify(archive: ArchiveResource, *, read_data: bool) -> Findings:
    """Compare everything with each other. Changes nothing.

    Raises:
        StorageError: the store cannot be read at all.
    """
    store, records = archive.store(), archive.records()
    session_ids = documented_sessions(archive)
    findings = Findings(sessions=len(session_ids))
    recorded: set[str] = set()
    table = _Rows(archive.table(), findings)
    beside = [(companion, _Rows(companion.table, findings)) for companion in companions(archive)]
    for session_id in session_ids:
        inspection = records.inspect(session_id)
        recorded.update(file.storage_path for file in inspection.record.clip_files.files)
        rows = table.take(session_id)
        findings.differences += verification.session_differences(inspection, rows, store, read_data=read_data)
        for companion, its_table in beside:
            checked = companion.check(inspection.record, its_table.take(session_id), read_data=read_data)
            findings.differences += checked.differences
            recorded |= checked.recorded
    for rest in (table, *(its_table for _, its_table in beside)):
        findings.differences += _rows_without_documents(rest.name, rest.by_session)
    findings.unrecorded = verification.unrecorded(store, recorded)
    return findings


def documented_sessions(archive: ArchiveResource) -> list[str]:
    """All sessions that have a document, sorted."""
    paths = (path.split("/") for path in archive.store().walk(SESSIONS) if path.endswith(".json"))
    return sorted({parts[1] for parts in paths if is_uuid(parts[1])})


class _Rows:
    """A table's rows by the session they name, rows that name none under the empty text; taken session by session."""

    def __init__(self, table: SessionTable, findings: Findings) -> None:
        self.name = table.name
        rows: pd.DataFrame | None = None
        try:
            rows = table.read()
        except StorageError as error:
            findings.differences.append(Difference("table unreadable", "all", str(error), REPAIR_ALL))
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
        f"Note: {len(paths)} objects are recorded by no session, left by a killed run or replaced by a repair; they "
        f"do no harm: {', '.join(paths[:MAX_NOTED])}{more}"
    )
