"""The sensors of what follows on the clips: soon after an archive's run, and slowly through all that is older."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from dagster import (
    AssetRecordsFilter,
    DagsterInstance,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.account import ARCHIVE, DEFAULT, Account
from ut_clips_dagster.assets.follow_on import BATCH, FollowOn
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.known_sessions import check_archive_is_there, sessions_in_flight
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import UtcDatetime, now_utc
from ut_clips_dagster.run_queue import IN_FLIGHT
from ut_clips_dagster.sensor_names import FOLLOW_INTERVAL_S
from ut_clips_dagster.sensors.outcomes import failing_visibly
from ut_clips_dagster.sensors.run_requests import pieces, run_requests

PRIORITY = -4
"""Behind new sessions (2), retries (1), rechecks and persons (0)."""
INTERVAL_S = FOLLOW_INTERVAL_S
MAX_RUNS_WAITING = 5
"""With so many runs of its job queued or running, a sensor requests no more."""
MAX_EVENTS_PER_TICK = 500
MOST_RUNS_PER_TICK = ((5_000, 5), (50_000, 2))
"""(known sessions below, runs requested): to create a run Dagster lists all partitions four times (docs/scale.md)."""
FEWEST_RUNS_PER_TICK = 1

log = logging.getLogger(__name__)


class Cursor(BaseModel):
    """A sensor's memory."""

    model_config = ConfigDict(frozen=True)

    events: dict[str, int] = {}
    """By asset, storage ID of the newest event that was looked at."""
    position: int | None = 0
    """Where the look through all sessions goes on, in Dagster's order; None: it is done."""
    looked_at: UtcDatetime | None = None
    """When the last one ended."""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor, or a new one: then all sessions are looked through."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            log.warning("A cursor cannot be read; all sessions are looked through again.")
            return cls()


def new_events(
    instance: DagsterInstance, assets: Sequence[str], since: Mapping[str, int], account: Account = DEFAULT
) -> tuple[dict[str, int], set[str]]:
    """Up to which event of each asset was looked, and the sessions of those after `since`."""
    heads: dict[str, int] = {}
    sessions: set[str] = set()
    for asset in assets:
        if asset not in since:
            newest = instance.fetch_materializations(account.key(asset), 1).records
            heads[asset] = newest[0].storage_id if newest else 0
            continue
        filtered = AssetRecordsFilter(account.key(asset), after_storage_id=since[asset])
        records = instance.fetch_materializations(filtered, MAX_EVENTS_PER_TICK, ascending=True).records
        heads[asset] = records[-1].storage_id if records else since[asset]
        sessions.update(record.partition_key for record in records if record.partition_key)
    return heads, sessions


def plan_tick(  # noqa: PLR0913, PLR0917 - a pure function of all it depends on
    cursor: Cursor,
    order: Sequence[str],
    touched: set[str],
    everything: set[str] | None,
    in_flight: set[str],
    now: datetime,
    batch: int = BATCH,
) -> tuple[Cursor, list[RunRequest]]:
    """Which runs to request, and what to remember. Pure.

    Args:
        cursor: what is remembered.
        order: all partition keys.
        touched: sessions of new events that lack it: first of all.
        everything: all sessions that lack it, when the look through all goes on in this tick.
        in_flight: sessions that a run of the same job holds.
        now: the present moment.
        batch: sessions in one run.
    """
    most = most_runs(len(order))
    fresh = list(pieces(touched - in_flight, order, batch))
    requests = [_run(piece, "new clips") for piece in fresh[:most]]
    if len(fresh) > most:  # the rest is found by a look through all
        return cursor.model_copy(update={"position": 0}), requests
    if everything is None:
        return cursor, requests
    older = list(pieces(everything - touched - in_flight, order[cursor.position or 0 :], batch))
    most -= len(requests)
    requests += [_run(piece, "catching up") for piece in older[:most]]
    if len(older) > most:
        return cursor.model_copy(update={"position": order.index(older[most][0])}), requests
    return cursor.model_copy(update={"position": None, "looked_at": now}), requests


def _run(piece: list[str], reason: str) -> RunRequest:
    """One run of these sessions, which are contiguous in Dagster's order."""
    (request,) = run_requests(piece, piece, len(piece), PRIORITY, reason, in_turn=False)
    return request


def most_runs(known: int) -> int:
    """How many runs a tick requests when so many sessions are known."""
    return next((most for below, most in MOST_RUNS_PER_TICK if known < below), FEWEST_RUNS_PER_TICK)


def follow_on_sensor(follow_on: FollowOn, job: UnresolvedAssetJobDefinition) -> SensorDefinition:
    """The sensor of one such asset; it sends no request to the API."""
    account, after = follow_on.account, " and ".join(follow_on.after)

    @sensor(
        name=follow_on.sensor_name,
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=account.sensor_status,
        required_resource_keys={account.named(ARCHIVE)},
        description=f"Requests {follow_on.name} after {after}, and bit by bit of older sessions.",
    )
    @failing_visibly()
    def tick(context: SensorEvaluationContext, **_: object) -> SensorResult:
        archive: ArchiveResource = account.resource(context, ARCHIVE)
        check_archive_is_there(context.instance, archive.table(), account)
        before, now = Cursor.read(context.cursor), now_utc()
        waiting = RunsFilter(job_name=follow_on.job_name, statuses=IN_FLIGHT)
        if context.instance.get_runs_count(waiting) >= MAX_RUNS_WAITING:
            return SensorResult(skip_reason="Enough runs wait already.", cursor=before.model_dump_json())
        if follow_on.waits(context.instance, account):  # a run that left sessions to a later one shows in no event
            cursor = before.model_copy(update={"position": before.position or 0})
            return SensorResult(skip_reason="Clips come first.", cursor=cursor.model_dump_json())
        heads, touched = new_events(context.instance, follow_on.after, before.events, account)
        cursor = before.model_copy(update={"events": heads})
        last = cursor.looked_at
        if last is None or now - last >= follow_on.look_again or is_future(last, now):
            cursor = cursor.model_copy(update={"position": cursor.position or 0})
        if not touched and cursor.position is None:
            return SensorResult(skip_reason="No new event.", cursor=cursor.model_dump_json())
        order = context.instance.get_dynamic_partitions(account.partitions)
        known = set(order)
        due = partial(follow_on.due, context.instance, archive)
        lacking = due(sorted(touched)) & known if touched else set()
        everything = None if cursor.position is None else due(None) & known
        in_flight = sessions_in_flight(context.instance, order, follow_on.job_name, account)
        cursor, requests = plan_tick(cursor, order, lacking, everything, in_flight, now, follow_on.batch)
        if not requests:
            reason = f"{len(lacking | (everything or set()))} sessions lack it, none is due."
            return SensorResult(skip_reason=reason, cursor=cursor.model_dump_json())
        return SensorResult(run_requests=requests, cursor=cursor.model_dump_json())

    return tick
