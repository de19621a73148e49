"""Which sessions are unfinished, why, and when each is tried again: from Dagster, or from the archive alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dagster import AssetRecordsFilter, DagsterInstance

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.records import SESSIONS as DOCUMENTS
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.health_facts import cursor_of, sensor_states
from ut_clips_dagster.known_sessions import (
    CLIP_FILES,
    CLIP_LIST,
    USERTESTING_SESSIONS,
    check_archive_is_there,
    materialized_sessions,
    no_sessions,
    sessions_in_flight,
    unfinished_sessions,
)
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.sensor_names import UNFINISHED_SESSIONS
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from ut_clips_dagster.sensors.unfinished_sessions import Tries

KEYS_PER_QUERY = 25
EVENTS_PER_KEY = 8
WITHOUT_PARTITION = "found at UserTesting, but without a partition yet: new_sessions or `ut-clips archive` adds it"
NEVER_TRIED = "its clips were never listed: no run has tried it to its end"


@dataclass(frozen=True)
class UnfinishedClip:
    """A listed clip that is not stored, and why."""

    clip_uuid: str
    status: str
    error: str


@dataclass(frozen=True)
class UnfinishedSession:
    """A session that is not archived, and why."""

    session_id: str
    in_flight: bool
    listed: bool
    reason: str
    clips: tuple[UnfinishedClip, ...]
    retries_left: int | None
    """None where no sensor counts them."""
    next_try: str | None
    """When `unfinished_sessions` tries it again, UTC; None when it does not, or does so once it has counted."""


@dataclass(frozen=True)
class Sessions:
    """All sessions, as far as they are known."""

    known: frozenset[str]
    unfinished: tuple[str, ...]
    listed: frozenset[str]
    in_flight: frozenset[str]
    without_partition: frozenset[str]
    no_sessions: tuple[str, ...] = ()
    """Partition keys that are no session's."""


def sessions_of_instance(instance: DagsterInstance, table: MetadataTable, account: Account = DEFAULT) -> Sessions:
    """What Dagster knows.

    Raises:
        StorageError: the archive that it knows of is not there.
    """
    check_archive_is_there(instance, table, account)
    order = instance.get_dynamic_partitions(account.partitions)
    found_only = sorted(materialized_sessions(instance, USERTESTING_SESSIONS, account).difference(order))
    return Sessions(
        known=frozenset([*filter(is_uuid, order), *found_only]),
        unfinished=(*unfinished_sessions(instance, table, order, account), *found_only),
        listed=frozenset(materialized_sessions(instance, CLIP_LIST, account)),
        in_flight=frozenset(sessions_in_flight(instance, order, account=account)),
        without_partition=frozenset(found_only),
        no_sessions=tuple(no_sessions(order)),
    )


def sessions_of_archive(store: Store, table: MetadataTable) -> Sessions:
    """What the archive says by itself: documents are read of the sessions without rows only."""
    with_rows = set(table.read(columns=["session_id"])["session_id"].dropna())
    documented = {path.split("/")[1] for path in store.walk(DOCUMENTS) if path.endswith(".json")}
    unlisted, unfinished = set(), set(table.unfinished()["session_id"])
    for session_id, record in SessionRecords(store).read_all(sorted(filter(is_uuid, documented - with_rows))):
        if isinstance(record, StorageError) or record.clip_list is None:
            unlisted.add(session_id)
        elif not record.is_complete:
            unfinished.add(session_id)
    known = with_rows | set(filter(is_uuid, documented))
    return Sessions(
        known=frozenset(known),
        unfinished=tuple(sorted(unfinished | unlisted)),
        listed=frozenset(known - unlisted),
        in_flight=frozenset(),
        without_partition=frozenset(),
    )


def explain(
    instance: DagsterInstance | None,
    sessions: Sessions,
    wanted: Sequence[str],
    rows: pd.DataFrame,
    account: Account = DEFAULT,
) -> Iterator[UnfinishedSession]:
    """Why each of these sessions is unfinished, and when it is tried again.

    Args:
        instance: None where there is none.
        sessions: see `sessions_of_instance`.
        wanted: those to explain.
        rows: `MetadataTable.unfinished`.
        account: whose sessions.
    """
    by_session = {str(key): group for key, group in rows.groupby("session_id")}
    reasons = reasons_of(instance, [s for s in wanted if s not in by_session], account) if instance else {}
    tries = tries_of(instance, account) if instance and wanted else None
    for session_id in wanted:
        clips = tuple(
            UnfinishedClip(str(row.clip_uuid or "of unknown ID"), str(row.status), str(row.error))
            for row in (by_session[session_id].itertuples() if session_id in by_session else ())
        )
        in_flight = session_id in sessions.in_flight
        left, next_at = _next(tries, session_id)
        yield UnfinishedSession(
            session_id,
            in_flight,
            session_id in sessions.listed,
            _reason(sessions, session_id, clips, reasons),
            clips,
            left,
            next_at.isoformat() if next_at and not in_flight else None,
        )


def reasons_of(instance: DagsterInstance, session_ids: Sequence[str], account: Account = DEFAULT) -> dict[str, str]:
    """What the last run that failed said of each session: its observation of the partition of `clip_files`."""
    found: dict[str, str] = {}
    for at in range(0, len(session_ids), KEYS_PER_QUERY):
        some = list(session_ids[at : at + KEYS_PER_QUERY])
        filtered = AssetRecordsFilter(account.key(CLIP_FILES), asset_partitions=some)
        for record in instance.fetch_observations(filtered, KEYS_PER_QUERY * EVENTS_PER_KEY).records:  # newest first
            observation = record.asset_observation
            if observation and record.partition_key and "unfinished" in observation.metadata:
                text = " ".join(str(observation.metadata["unfinished"].value).split())
                found.setdefault(record.partition_key, text)
    return found


def tries_of(instance: DagsterInstance, account: Account = DEFAULT) -> Mapping[str, Tries] | None:
    """How often each unfinished session was tried again; None where the sensor never ran."""
    cursor = cursor_of(sensor_states(instance, account).get(UNFINISHED_SESSIONS))
    if not cursor:
        return None
    from ut_clips_dagster.sensors.unfinished_sessions import Cursor  # and the clients of the cloud: seconds

    return Cursor.read(cursor).sessions


def _next(tries: Mapping[str, Tries] | None, session_id: str) -> tuple[int | None, datetime | None]:
    if tries is None:
        return None, None
    from ut_clips_dagster.sensors.unfinished_sessions import RETRY_AFTER

    known = tries.get(session_id)
    return (known.left, known.next_at) if known else (len(RETRY_AFTER), None)


def _reason(sessions: Sessions, session_id: str, clips: Sequence[UnfinishedClip], reasons: Mapping[str, str]) -> str:
    if session_id in sessions.without_partition:
        return WITHOUT_PARTITION
    if clips:
        return f"{len(clips)} of its listed clips {'is' if len(clips) == 1 else 'are'} not stored"
    if session_id in reasons:
        return reasons[session_id]
    return "listed, but not recorded as archived" if session_id in sessions.listed else NEVER_TRIED
