"""`unfinished_sessions`: tries again what is missing or failed, a bounded number of times."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from dagster import (
    AssetRecordsFilter,
    DagsterInstance,
    EventLogRecord,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.account import ARCHIVE, DEFAULT, Account
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.known_sessions import (
    CLIP_FILES,
    COSTS_A_TRY,
    check_archive_is_there,
    no_sessions,
    sessions_in_flight,
    told_as_no_session,
    unfinished_sessions,
)
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import UtcDatetime, now_utc
from ut_clips_dagster.run_queue import pass_over_silent
from ut_clips_dagster.sensor_names import INTERVALS_S, UNFINISHED_SESSIONS
from ut_clips_dagster.sensors.finished_sessions import finished_events, shown_failed
from ut_clips_dagster.sensors.outcomes import failing_visibly
from ut_clips_dagster.sensors.run_requests import run_requests

PRIORITY = -2
INTERVAL_S = INTERVALS_S[UNFINISHED_SESSIONS]
RETRY_AFTER = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""Waiting time before each retry; after the last one a session stays failed and visible until a person acts."""
MAX_SESSIONS_PER_TICK = 500
MAX_KEYS_TOLD = 3

log = logging.getLogger(__name__)


class Tries(BaseModel):
    """How often an unfinished session was tried again, and since when it waits."""

    model_config = ConfigDict(frozen=True)

    retries: int = 0
    """Runs that really tried it, and found something wrong with the session itself."""
    in_vain: int = 0
    """Runs since then that could not try it: they were killed or never begun, or the API or the disk was gone."""
    since: UtcDatetime
    asked: bool = False
    """A run was requested `since`, and nobody has looked yet whether it tried."""

    def is_due(self, now: datetime) -> bool:
        """Whether the next retry's time has come; it has when the waiting began in the future."""
        return self.next_at is not None and (now >= self.next_at or is_future(self.since, now))

    @property
    def next_at(self) -> datetime | None:
        """When the next retry is due; None when there is none left.

        One that was in vain is made up for after the first of the waiting times, from then on after the second.
        """
        if not self.left:
            return None
        return self.since + RETRY_AFTER[min(self.in_vain, 2) - 1 if self.in_vain else self.retries]

    @property
    def left(self) -> int:
        """Retries that are left."""
        return max(0, len(RETRY_AFTER) - self.retries)


class Cursor(BaseModel):
    """The sensor's memory: unfinished sessions only."""

    model_config = ConfigDict(frozen=True)

    sessions: dict[str, Tries] = {}
    looked_at: UtcDatetime | None = None
    """Runs that ended badly up to then were looked at for sessions that they had finished."""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor, or a new one: then every unfinished session gets its retries anew."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            log.warning("The cursor of unfinished_sessions cannot be read; the retries start over.")
            return cls()

    def landed(self, in_flight: set[str]) -> list[str]:
        """Sessions whose requested run is over, or was lost."""
        return [session_id for session_id, t in self.sessions.items() if t.asked and session_id not in in_flight]


def plan_retries(
    before: Mapping[str, Tries],
    unfinished: Iterable[str],
    in_flight: set[str],
    now: datetime,
    tried: Iterable[str] = (),
) -> tuple[dict[str, Tries], list[str]]:
    """Which sessions to try now, and what to remember. Pure.

    A session waits from the moment it is first seen unfinished and not in flight; while a run holds it, it does not.
    One that a run holds for the first time is not remembered: thousands wait in the queue during a first crawl.

    Args:
        before: what is remembered.
        unfinished: sessions that are not done.
        in_flight: sessions that a run holds.
        now: the present moment.
        tried: sessions whose requested run tried them and found something wrong with them. A run that could not
            begin, or that did not reach the API, says nothing of a session: it is requested again without end.
    """
    after: dict[str, Tries] = {}
    due: list[str] = []
    tried = set(tried)
    for session_id in unfinished:
        tries = before.get(session_id, Tries(since=now))
        if session_id in in_flight:
            if not tries.asked:
                if not tries.retries:
                    continue
                tries = Tries(retries=tries.retries, since=now)
        elif tries.asked:
            in_vain = 0 if session_id in tried else tries.in_vain + 1
            tries = Tries(retries=tries.retries + (session_id in tried), in_vain=in_vain, since=now)
        elif tries.is_due(now) and len(due) < MAX_SESSIONS_PER_TICK:
            due.append(session_id)
            tries = tries.model_copy(update={"since": now, "asked": True})
        after[session_id] = tries
    return after, due


def tried_sessions(instance: DagsterInstance, asked: Mapping[str, Tries], account: Account = DEFAULT) -> set[str]:
    """Those with which a run found something wrong since it was requested: each report is an event of its own."""
    if not asked:
        return set()
    since = min(tries.since for tries in asked.values()).timestamp()
    filtered = AssetRecordsFilter(account.key(CLIP_FILES), asset_partitions=list(asked), after_timestamp=since)
    records = instance.fetch_observations(filtered, limit=10 * MAX_SESSIONS_PER_TICK).records
    return {
        key
        for record in records
        if (key := record.partition_key) and record.timestamp >= asked[key].since.timestamp() and _costs_a_try(record)
    }


def _costs_a_try(record: EventLogRecord) -> bool:
    metadata = record.asset_observation.metadata if record.asset_observation else {}
    return COSTS_A_TRY not in metadata or bool(metadata[COSTS_A_TRY].value)


def unfinished_sessions_sensor(
    job: UnresolvedAssetJobDefinition, batch_size: int, account: Account = DEFAULT
) -> SensorDefinition:
    """The sensor; it sends no request to the API."""

    @sensor(
        name=account.named(UNFINISHED_SESSIONS),
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=account.sensor_status,
        required_resource_keys={account.named(ARCHIVE)},
        description=(
            "Tries missing and failed sessions again after 10 min, 1 h, 6 h and 24 h; then they stay failed. "
            "Shows as done what a run finished before it was killed."
        ),
    )
    @failing_visibly()
    def unfinished_sessions_tick(context: SensorEvaluationContext, **_: object) -> SensorResult:
        archive: ArchiveResource = account.resource(context, ARCHIVE)
        instance, now = context.instance, now_utc()
        check_archive_is_there(instance, archive.table(), account)
        for run_id in pass_over_silent(instance, now, account):
            context.log.warning(f"Run {run_id} tells nothing any more; the next batch does not wait for it.")
        order = instance.get_dynamic_partitions(account.partitions)
        before = Cursor.read(context.cursor)
        unfinished = unfinished_sessions(instance, archive.table(), order, account)
        looked_at = None if before.looked_at and is_future(before.looked_at, now) else before.looked_at
        not_done = shown_failed(instance, looked_at, account).union(unfinished)
        in_flight = sessions_in_flight(instance, order, account=account) if not_done else set()
        doubtful = [s for s in order if s in not_done and s not in in_flight]
        finished, events = finished_events(archive, doubtful)
        unfinished = [session_id for session_id in unfinished if session_id not in finished]
        landed = {session_id: before.sessions[session_id] for session_id in before.landed(in_flight)}
        tried = tried_sessions(instance, landed, account)
        after, due = plan_retries(before.sessions, unfinished, in_flight, now, tried)
        given_up = [s for s, tries in after.items() if not tries.left and s not in in_flight]
        cursor = Cursor(sessions=after, looked_at=looked_at if finished else now).model_dump_json()
        shown = f" {len(finished)} that were finished are shown so." if finished else ""
        reason = f"{len(unfinished)} unfinished, none due; {len(given_up)} wait for a person.{shown}"
        if given_up:
            reason += f" Materialize them by hand; the longest waiting is session {given_up[0]}. Why: ut-clips status."
        reason += "".join(f" {told_as_no_session(key)}" for key in no_sessions(order)[:MAX_KEYS_TOLD])
        return SensorResult(
            run_requests=list(run_requests(due, order, batch_size, PRIORITY, "unfinished session", account=account)),
            skip_reason=None if due else reason,
            asset_events=events,
            cursor=cursor,
        )

    return unfinished_sessions_tick
