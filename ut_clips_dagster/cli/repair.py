"""`ut-clips repair`: mends what `ut-clips verify` finds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ut_clips_dagster.archive.repair import Repaired, Repairer
from ut_clips_dagster.archive.rows import all_clip_metadata
from ut_clips_dagster.cli.console import errors, say
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.cli.verify import documented_sessions
from ut_clips_dagster.errors import SettingsError, StorageError
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import is_uuid, parse_uuid


def repair_sessions(session_ids: list[str]) -> bool:
    """Mend these sessions (all when none is named); True when nothing is left to mend.

    Documents and rows are mended from each other, without a request. Then sessions that lack clips are archived: the
    API is asked for those, and for nothing that is stored.

    Raises:
        ClipsError: it could not run; the message says why.
    """
    named = [_session_id(text) for text in session_ids]
    archive = archive_settings()
    store = archive.store()
    store.check_writable()
    rows = _readable_rows(archive)
    wanted = named or sorted({*documented_sessions(archive), *rows["session_id"].dropna().unique()})
    repairer = Repairer(store, archive.records(), archive.table())
    repaired = [repairer.repair(session_id) for session_id in wanted]
    for each in repaired:
        _print(each)
    fetch = [each.session_id for each in repaired if each.lacks]
    fetched = _archive(fetch) if fetch else True
    sound = [each for each in repaired if each.trusted]
    say(
        f"{len(sound)} of {len(repaired)} sessions mended; {len(fetch)} of them lacked clips or a listing. "
        "`ut-clips verify --read-data` says whether all is well."
    )
    return fetched and len(sound) == len(repaired)


def _archive(session_ids: Sequence[str]) -> bool:
    from ut_clips_dagster.cli.archive import archive_once  # Dagster's import: only when clips are fetched

    return archive_once(session_ids)


def _readable_rows(archive: ArchiveResource) -> pd.DataFrame:
    """The table's rows; where it cannot be read, or holds rows of no session, it is written anew first."""
    table = archive.table()
    try:
        rows = table.read()
    except StorageError as error:
        say(f"{error} It is written anew from the documents.", to=errors)
        rows = _from_documents(archive)
        table.rewrite(rows)
        return rows
    of_sessions = rows["session_id"].map(lambda key: isinstance(key, str) and is_uuid(key)).astype(bool)
    if not of_sessions.all():
        rows = rows[of_sessions]
        table.rewrite(rows)
        say(f"{int((~of_sessions).sum())} rows that name no session are taken out of the table.")
    return rows


def _from_documents(archive: ArchiveResource) -> pd.DataFrame:
    records = archive.records()
    return all_clip_metadata(records.inspect(session_id).record for session_id in documented_sessions(archive))


def _print(repaired: Repaired) -> None:
    for text in repaired.done:
        say(f"Session {repaired.session_id}: {text}")
    for text in repaired.left:
        say(f"Session {repaired.session_id}: {text}", to=errors)


def _session_id(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise SettingsError(f"--session: {error}; give the session's UUID.") from None
