"""`unfinished_sessions`: tries again what is missing or failed, a bounded number of times."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from dagster import (
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.known_sessions import (
    check_archive_is_there,
    no_sessions,
    sessions_in_flight,
    told_as_no_session,
    unfinished_sessions,
)
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import UtcDatetime, now_utc
from ut_clips_dagster.run_queue import pass_over_silent
from ut_clips_dagster.sensors.outcomes import failing_visibly
from ut_clips_dagster.sensors.run_requests import run_requests

PRIORITY = -2
INTERVAL_S = 60
RETRY_AFTER = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""Waiting time before each retry; after the last one a session stays failed and visible until a person acts."""
MAX_SESSIONS_PER_TICK = 500
MAX_KEYS_TOLD = 3

log = logging.getLogger(__name__)


class Tries(BaseModel):
    """How often an unfinished session was tried again, and since when it waits."""

    model_config = ConfigDict(frozen=True)

    retries: int = 0
    since: UtcDatetime

    def is_due(self, now: datetime) -> bool:
        """Whether the next retry's time has come."""
        return self.next_at is not None and now >= self.next_at

    @property
    def next_at(self) -> datetime | None:
        """When the next retry is due; None when there is none left."""
        return self.since + RETRY_AFTER[self.retries] if self.left else None

    @property
    def left(self) -> int:
        """Retries that are left."""
        return max(0, len(RETRY_AFTER) - self.retries)


class Cursor(BaseModel):
    """The sensor's memory: unfinished sessions only."""

    model_config = ConfigDict(frozen=True)

    sessions: dict[str, Tries] = {}

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor, or a new one: then every unfinished session gets its retries anew."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            log.warning("The cursor of unfinished_sessions cannot be read; the retries start over.")
            return cls()


def plan_retries(
    before: Mapping[str, Tries], unfinished: Iterable[str], in_flight: set[str], now: datetime
) -> tuple[dict[str, Tries], list[str]]:
    """Which sessions to try now, and what to remember. Pure.

    A session waits from the moment it is first seen unfinished and not in flight; while a run holds it, it does not.
    One that a run holds for the first time is not remembered: thousands wait in the queue during a first crawl.
    """
    after: dict[str, Tries] = {}
    due: list[str] = []
    for session_id in unfinished:
        tries = before.get(session_id, Tries(since=now))
        if session_id in in_flight:
            if not tries.retries:
                continue
            tries = Tries(retries=tries.retries, since=now)
        elif tries.is_due(now) and len(due) < MAX_SESSIONS_PER_TICK:
            due.append(session_id)
            tries = Tries(retries=tries.retries + 1, since=now)
        after[session_id] = tries
    return after, due


def unfinished_sessions_sensor(job: UnresolvedAssetJobDefinition, batch_size: int) -> SensorDefinition:
    """The sensor; it sends no request to the API."""

    @sensor(
        name="unfinished_sessions",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=DefaultSensorStatus.RUNNING,
        description="Tries missing and failed sessions again after 10 min, 1 h, 6 h and 24 h; then they stay failed.",
    )
    @failing_visibly()
    def unfinished_sessions_tick(context: SensorEvaluationContext, archive: ArchiveResource) -> SensorResult:
        check_archive_is_there(context.instance, archive.table())
        for run_id in pass_over_silent(context.instance, now_utc()):
            context.log.warning(f"Run {run_id} tells nothing any more; the next batch does not wait for it.")
        order = context.instance.get_dynamic_partitions(SESSIONS)
        unfinished = unfinished_sessions(context.instance, archive.table(), order)
        before = Cursor.read(context.cursor).sessions
        in_flight = sessions_in_flight(context.instance, order) if unfinished else set()
        after, due = plan_retries(before, unfinished, in_flight, now_utc())
        given_up = [s for s, tries in after.items() if not tries.left and s not in in_flight]
        cursor = Cursor(sessions=after).model_dump_json()
        if not due:
            reason = f"{len(unfinished)} unfinished, none due; {len(given_up)} wait for a person."
            if given_up:
                reason += (
                    f" Materialize them by hand; the longest waiting is session {given_up[0]}. Why: ut-clips status."
                )
            reason += "".join(f" {told_as_no_session(key)}" for key in no_sessions(order)[:MAX_KEYS_TOLD])
            return SensorResult(skip_reason=reason, cursor=cursor)
        return SensorResult(
            run_requests=list(run_requests(due, order, batch_size, PRIORITY, "unfinished session")), cursor=cursor
        )

    return unfinished_sessions_tick
