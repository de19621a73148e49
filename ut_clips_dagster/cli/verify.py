"""`ut-clips verify`: every document, object and row against each other."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.table import Table

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.records import SESSIONS
from ut_clips_dagster.archive.verification import Difference
from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.resources import ArchiveResource


def verify_archive(*, read_data: bool) -> bool:
    """Print every difference with the command that repairs it; True when there is none."""
    archive = archive_settings()
    sessions = session_ids(archive)
    differences: list[Difference] = []
    with console.status(f"Verifying {len(sessions)} sessions"):
        differences.extend(all_differences(archive, sessions, read_data=read_data))
    if not differences:
        how = "every byte read" if read_data else "sizes and checksums"
        console.print(f"{len(sessions)} sessions verified ({how}): documents, objects and rows agree.")
        return True
    table = Table("difference", "session", "what", "repair", title=f"{len(differences)} differences")
    for d in differences:
        table.add_row(d.kind, d.session_id, d.what, d.repair)
    console.print(table)
    for command in dict.fromkeys(d.repair for d in differences):
        console.print(command, soft_wrap=True, highlight=False)
    return False


def session_ids(archive: ArchiveResource) -> list[str]:
    """All sessions that have a document, sorted."""
    return sorted({path.split("/")[1] for path in archive.store().walk(SESSIONS) if path.endswith(".json")})


def all_differences(archive: ArchiveResource, sessions: list[str], *, read_data: bool) -> Iterator[Difference]:
    """The differences of these sessions, and rows of sessions that have no documents at all."""
    store, records = archive.store(), archive.records()
    table = archive.table().read()
    by_session: dict[str, pd.DataFrame] = {str(key): rows for key, rows in table.groupby("session_id")}
    for session_id in sessions:
        found = by_session.pop(session_id, table.iloc[:0])
        try:
            record = records.read(session_id)
        except StorageError as error:
            repair = f"ut-clips repair --session {session_id}"
            yield Difference("document damaged", session_id, str(error), repair)
            continue
        yield from verification.not_stored(record)
        yield from verification.objects(record, store, read_data=read_data)
        yield from verification.rows(record, found)
    for session_id, rows in by_session.items():
        what = f"the table holds {len(rows)} rows of a session without documents"
        yield Difference("document damaged", session_id, what, f"ut-clips repair --session {session_id}")
