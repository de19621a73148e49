"""`ut-clips repair`: mends what `ut-clips verify` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from ut_clips_dagster.archive.companions import Companion
from ut_clips_dagster.archive.repair import Repaired, Repairer
from ut_clips_dagster.archive.rows import all_clip_metadata
from ut_clips_dagster.archive.verification import GIVE_UP_AFTER
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.companions import companions
from ut_clips_dagster.cli.console import errors, say
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.cli.verify import check_mounted, documented_sessions
from ut_clips_dagster.errors import SettingsError, StorageError
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import is_uuid, parse_uuid
from ut_clips_dagster.storage.columns import as_rows, to_pandas
from ut_clips_dagster.storage.session_table import SessionTable


def repair_sessions(session_ids: list[str]) -> bool:
    """Mend these sessions (all when none is named); True when nothing is left to mend.

    Documents and rows are mended from each other, without a request. Then sessions that lack clips are archived: the
    API is asked for those, and for nothing that is stored.

    Raises:
        ClipsError: it could not run; the message says why.
    """
    named = [_session_id(text) for text in session_ids]
    archive = archive_settings()
    check_mounted(archive)
    store = archive.store()
    store.check_writable()
    records, beside = archive.records(), companions(archive)
    tables = [_readable_rows(archive, archive.table(), _from_documents)]
    tables += [_readable_rows(archive, each.table, _beside_documents(each)) for each in beside]
    of_rows = {session_id for rows in tables for session_id in rows["session_id"].dropna().unique()}
    wanted = named or sorted({*documented_sessions(archive), *of_rows})
    repairer = Repairer(store, records, archive.table())
    repaired: list[Repaired] = []
    for session_id in wanted:
        repaired.append(_repair(repairer, beside, session_id))
        _print(repaired[-1])
        if len(repaired) > GIVE_UP_AFTER and all(each.error for each in repaired[-GIVE_UP_AFTER - 1 :]):
            raise StorageError(str(repaired[-1].error))
    fetch = [each.session_id for each in repaired if each.lacks]
    fetched = _archive(fetch) if fetch else True
    sound = [each for each in repaired if each.trusted]
    mended, left = sum(bool(each.done) for each in repaired), len(repaired) - len(sound)
    say(
        f"{counted(len(repaired), 'session')} looked at: {mended} mended, {left} left as they are, {len(fetch)} lacked "
        "clips or a listing. `ut-clips verify --read-data` says whether all is well."
    )
    return fetched and len(sound) == len(repaired)


def _repair(repairer: Repairer, beside: Sequence[Companion], session_id: str) -> Repaired:
    repaired = repairer.repair(session_id)
    for companion in beside if repaired.error is None else ():
        with repaired.attempt():
            mended = companion.repair(repaired.record)
            repaired.done += mended.done
            repaired.left += mended.left
    return repaired


def _archive(session_ids: Sequence[str]) -> bool:
    from ut_clips_dagster.cli.archive import archive_once  # Dagster's import: only when clips are fetched

    return archive_once(session_ids)


def _readable_rows(
    archive: ArchiveResource, table: SessionTable, from_documents: Callable[[ArchiveResource], pd.DataFrame]
) -> pd.DataFrame:
    """A table's rows; where it cannot be read, or holds rows of no session, it is written anew first.

    Raises:
        StorageError: nor can a document be read: its rows, too, may be whole, and all there is of it.
    """
    try:
        rows = table.read()
    except StorageError as error:
        say(f"{error} It is written anew from the documents.", to=errors)
        table.rewrite(lambda: from_documents(archive))
        return table.read()
    if all(_name_sessions(rows["session_id"])):
        return rows
    left = to_pandas(table.change(lambda present: present.filter(_name_sessions(present["session_id"].to_pylist()))))
    say(f"{len(rows) - len(left)} rows that name no session are taken out of {table.name}.")
    return left


def _name_sessions(keys: Iterable[object]) -> list[bool]:
    """Of each row's key, whether it is a session's."""
    return [isinstance(key, str) and is_uuid(key) for key in keys]


def _from_documents(archive: ArchiveResource) -> pd.DataFrame:
    records = archive.records()
    return all_clip_metadata(records.inspect(session_id).record for session_id in documented_sessions(archive))


def _beside_documents(companion: Companion) -> Callable[[ArchiveResource], pd.DataFrame]:
    def rows(archive: ArchiveResource) -> pd.DataFrame:
        made = [companion.rows(session_id) for session_id in documented_sessions(archive)]
        filled = [each for each in made if len(each)]  # pandas does not tell a dtype from an empty one
        return pd.concat(filled, ignore_index=True) if filled else as_rows(companion.table.schema, [])

    return rows


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
