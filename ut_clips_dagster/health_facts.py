"""Gathers the facts that `health/` judges: from the archive, and from the Dagster instance where there is one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    SensorInstigatorData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.discovery import Discoveries, DiscoveryDocument
from ut_clips_dagster.archive.records import SESSIONS as DOCUMENTS
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.health.facts import Facts, InstanceFacts, SensorFacts, Space, Waiting
from ut_clips_dagster.known_sessions import check_archive_is_there, is_of, sessions_in_flight, unfinished_sessions
from ut_clips_dagster.run_queue import IN_FLIGHT
from ut_clips_dagster.sensor_names import HEALTH_ALERTS, INTERVALS_S, NEW_SESSIONS, OLD_RUNS, UNFINISHED_SESSIONS
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store

BEGUN_AT = "ut_clips_health_begun_at"
"""Key of a cursor in Dagster's storage, which all who look share, whatever their files."""
MOST_TICKS = 200
MOST_READ = 20
"""Documents read to find the session that waits longest: partitions are in the order in which they were found."""
MOST_LOOKED_FOR = 500
"""Sessions whose documents are looked for to read so many: a bucket takes tens of milliseconds for each."""
ASKED_WITH_THE_OTHERS = timedelta(days=1)
_ERROR_CLASS = re.compile(r"\A[\w.]+: ")


def gather(  # noqa: PLR0913, PLR0917 - all places that facts come from
    store: Store,
    table: MetadataTable,
    test_ids: Sequence[str] | None,
    instance: DagsterInstance | None,
    home: Path | None,
    now: datetime,
    account: Account = DEFAULT,
    sensors: Mapping[str, float] = INTERVALS_S,
) -> Facts:
    """All facts; what cannot be read is one of them.

    Args:
        store: of documents.
        table: of clips.
        test_ids: the configured tests; None when they are not known to who asks.
        instance: None where there is none.
        home: DAGSTER_HOME, for its free space.
        now: the present moment.
        account: whose sensors and partitions.
        sensors: those that there are, see `sensors_of`; each is judged once it has ticked.
    """
    problem = instance_problem = ""
    empty = False
    facts: InstanceFacts | None = None
    discoveries: Mapping[str, DiscoveryDocument | None] = {}
    try:
        empty = is_empty(store, table)
        if instance:
            check_archive_is_there(instance, table, account)
        discoveries = discoveries_of(Discoveries(store), test_ids, now)
    except StorageError as error:
        problem = str(error)
    if instance:
        try:
            facts = instance_facts(instance, None if problem else table, SessionRecords(store), account, sensors)
            if any(facts.heartbeats.values()):
                facts = replace(facts, begun_at=_begun_at(instance, now, account))
        except Exception as error:  # noqa: BLE001 - a database of any kind, that fails in its own way
            instance_problem = f"The Dagster instance cannot be read: {str(error).splitlines()[0][:200]}"
    return Facts(
        now=now,
        archive=store.uri,
        archive_problem=problem,
        archive_is_empty=empty and not problem,
        discoveries=discoveries,
        home=str(home or ""),
        instance=facts,
        instance_problem=instance_problem,
        spaces=spaces(store.uri, home),
    )


def is_empty(store: Store, table: MetadataTable) -> bool:
    """Whether there is neither a document nor a table.

    Raises:
        StorageError: its directory is not there, documents cannot be listed, or the table's rows not be read.
    """
    if "://" not in store.uri and not Path(store.uri).exists():
        raise StorageError(f"The archive {store.uri} is not there. Is it mounted, and does UT_CLIPS_ARCHIVE name it?")
    documented = next(iter(store.walk(DOCUMENTS)), None) is not None
    table.unfinished()
    return not documented and table.open() is None


def spaces(archive: str, home: Path | None) -> list[Space]:
    """Free space of the directories that we write to."""
    places = {} if "://" in archive else {"the archive": Path(archive)}
    if home:
        places["DAGSTER_HOME"] = home
    found = []
    for what, path in places.items():
        there = next((p for p in (path, *path.parents) if p.exists()), None)
        if there:
            found.append(Space(what, str(path), shutil.disk_usage(there).free))
    return found


def instance_facts(
    instance: DagsterInstance,
    table: MetadataTable | None,
    records: SessionRecords,
    account: Account = DEFAULT,
    sensors: Mapping[str, float] = INTERVALS_S,
) -> InstanceFacts:
    """What the instance says; of sessions nothing when the table cannot be read."""
    order = instance.get_dynamic_partitions(account.partitions)
    unfinished = unfinished_sessions(instance, table, order, account) if table else []
    in_flight = sessions_in_flight(instance, order, account=account) if unfinished else set()
    states = sensor_states(instance, account, sensors)
    queued = instance.get_run_records(
        RunsFilter(statuses=[DagsterRunStatus.QUEUED]), limit=None if account.name else 1, ascending=True
    )
    queued = [record for record in queued if is_of(record.dagster_run, account)]
    beats = instance.get_daemon_heartbeats()
    given_up = _given_up(states.get(UNFINISHED_SESSIONS), set(unfinished) - in_flight)
    given_up_sessions = {session.name for session in given_up}
    return InstanceFacts(
        heartbeats={
            kind: datetime.fromtimestamp(beats[kind].timestamp, timezone.utc) if kind in beats else None
            for kind in instance.get_required_daemon_types()
        },
        sensors=[
            _sensor(instance, name, interval_s, states.get(name), account) for name, interval_s in sensors.items()
        ],
        given_up=given_up,
        oldest_queued_run=Waiting(queued[0].dagster_run.run_id, _utc(queued[0].create_timestamp)) if queued else None,
        oldest_unfinished=_longest_waiting((key for key in unfinished if key not in given_up_sessions), records),
        runs_in_flight=_runs_in_flight(instance, account),
    )


def _begun_at(instance: DagsterInstance, now: datetime, account: Account) -> datetime:
    """When a daemon was first seen to live: now, if nobody has noted it. Who may only read leaves it to the others."""
    key = account.named(BEGUN_AT)
    noted = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    if noted and not is_future(begun_at := datetime.fromisoformat(noted), now):
        return begun_at
    with suppress(Exception):  # a database of any kind
        instance.daemon_cursor_storage.set_cursor_values({key: now.isoformat()})
    return now


def sensor_states(
    instance: DagsterInstance, account: Account = DEFAULT, sensors: Iterable[str] = INTERVALS_S
) -> dict[str, InstigatorState]:
    """The state of each of these sensors, by its name in the unnamed account.

    Where several locations had one of that name, it is the one that ticked last.
    """
    names = {account.named(name): name for name in sensors}
    ours = [s for s in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR) if s.name in names]
    by_time = sorted(ours, key=lambda state: _data(state).last_tick_timestamp or 0.0)
    return {names[state.name]: state for state in by_time}


def cursor_of(state: InstigatorState | None) -> str | None:
    """A sensor's cursor."""
    return _data(state).cursor if state else None


def message_of(error: SerializableErrorInfo | None) -> str:
    """What went wrong, without the class: of a wrapped error the innermost, in one line."""
    while error and error.cause:
        error = error.cause
    return " ".join(_ERROR_CLASS.sub("", error.message.strip()).split()) if error else ""


def _runs_in_flight(instance: DagsterInstance, account: Account) -> int:
    in_flight = RunsFilter(statuses=IN_FLIGHT)
    if not account.name:
        return instance.get_runs_count(in_flight)
    return sum(is_of(run, account) for run in instance.get_runs(in_flight))


def _sensor(
    instance: DagsterInstance, name: str, interval_s: float, state: InstigatorState | None, account: Account
) -> SensorFacts:
    facts = SensorFacts(
        account.named(name),
        interval_s,
        discovers=name == NEW_SESSIONS,
        alerts=name == HEALTH_ALERTS,
        may_be_off=name == OLD_RUNS,
    )
    if state is None:
        return facts
    data = _data(state)
    last = next((tick for tick in _ticks(instance, state, 2) if tick.status != TickStatus.STARTED), None)
    failures = max(1, last.tick_data.consecutive_failure_count) if last and last.status == TickStatus.FAILURE else 0
    failed = _ticks(instance, state, min(failures, MOST_TICKS)) if failures else []
    return replace(
        facts,
        interval_s=float(data.min_interval or interval_s),
        on=state.status != InstigatorStatus.STOPPED,
        last_tick_at=datetime.fromtimestamp(data.last_tick_timestamp, timezone.utc)
        if data.last_tick_timestamp
        else None,
        failures=failures,
        failing_since=datetime.fromtimestamp(failed[-1].timestamp, timezone.utc) if failed else None,
        error=message_of(last.error) if last and failures else "",
    )


def _ticks(instance: DagsterInstance, state: InstigatorState, limit: int) -> Sequence[InstigatorTick]:
    return instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=limit)


def _data(state: InstigatorState) -> SensorInstigatorData:
    data = state.instigator_data
    return data if isinstance(data, SensorInstigatorData) else SensorInstigatorData()


def _given_up(state: InstigatorState | None, unfinished: set[str]) -> list[Waiting]:
    if not unfinished or state is None:
        return []
    from ut_clips_dagster.sensors.unfinished_sessions import Cursor  # and the clients of the cloud: seconds

    tries = Cursor.read(cursor_of(state)).sessions
    found = [Waiting(key, t.since) for key, t in tries.items() if key in unfinished and not t.left]
    return sorted(found, key=lambda waiting: waiting.since)


def _longest_waiting(session_ids: Iterable[str], records: SessionRecords) -> Waiting | None:
    found = islice(_waiting(islice(session_ids, MOST_LOOKED_FOR), records), MOST_READ)
    return min(found, key=lambda waiting: waiting.since, default=None)


def _waiting(session_ids: Iterable[str], records: SessionRecords) -> Iterator[Waiting]:
    """Those that were found: of a session that a person added nothing says since when it waits."""
    for session_id in session_ids:
        with suppress(StorageError):
            if session := records.session(session_id):
                yield Waiting(session_id, session.found_at)


def discoveries_of(
    discoveries: Discoveries, test_ids: Iterable[str] | None, now: datetime
) -> Mapping[str, DiscoveryDocument | None]:
    """What is known of these tests; of those that are still asked when None."""
    if test_ids is not None:
        return {test_id: discoveries.read(test_id) for test_id in test_ids}
    found = discoveries.read_all()
    newest = max((d.asked_at for d in found.values() if not is_future(d.asked_at, now)), default=now)
    # a test that is not asked any more while others are was taken out of the settings
    return {key: d for key, d in found.items() if newest - d.asked_at < ASKED_WITH_THE_OTHERS}


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
