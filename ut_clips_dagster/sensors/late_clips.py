"""`late_clips`: lists finished sessions again, as researchers cut, rename and delete clips long after a session."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SensorResult, sensor
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.relisting import next_relist
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.known_sessions import sessions_in_flight
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import UtcDatetime, now_utc
from ut_clips_dagster.sensors.run_requests import run_requests

PRIORITY = 0
INTERVAL_S = 600
MAX_SESSIONS_PER_TICK = 20
"""A fifth of the requests the API allows in `INTERVAL_S`: new sessions and retries keep the rest."""
MAX_READ_PER_TICK = 500
ASK_AGAIN_AFTER = timedelta(hours=1)

log = logging.getLogger(__name__)


class Cursor(BaseModel):
    """The sensor's memory: when each session of the last 30 days is due, and how many partitions it has looked at."""

    model_config = ConfigDict(frozen=True)

    seen: int = 0
    due: dict[str, UtcDatetime] = {}

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor, or a new one: then the documents are looked at again, over some ticks."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            log.warning("The cursor of late_clips cannot be read; the sessions' documents are read again.")
            return cls()


def plan_relists(
    cursor: Cursor, order: Sequence[str], records: SessionRecords, in_flight: set[str], now: datetime
) -> tuple[Cursor, list[str]]:
    """Which sessions to list now, and what to remember. Reads documents of new partitions and of due sessions only."""
    due = dict(cursor.due)
    fresh = order[cursor.seen : cursor.seen + MAX_READ_PER_TICK]
    for session_id in fresh:
        record = _read(records, session_id)
        if (at := next_relist(record) if record else now + ASK_AGAIN_AFTER) is not None:
            due[session_id] = at
    wanted: list[str] = []
    for session_id, at in sorted(due.items(), key=lambda item: item[1]):
        if at > now or len(wanted) >= MAX_SESSIONS_PER_TICK:
            break
        if session_id in in_flight:
            continue
        record = _read(records, session_id)
        again = next_relist(record) if record else None
        if record is None or record.clip_list is None:
            due[session_id] = now + ASK_AGAIN_AFTER  # not listed at all yet: new_sessions and its retries see to it
        elif _is_forgotten(record) or (again is not None and again <= now):
            wanted.append(session_id)
            due[session_id] = now + ASK_AGAIN_AFTER
        elif again is None:
            del due[session_id]
        else:
            due[session_id] = again
    return Cursor(seen=cursor.seen + len(fresh), due=due), wanted


def _read(records: SessionRecords, session_id: str) -> SessionRecord | None:
    """A session's documents; one that is damaged must not stop the others: it is looked at again an hour later."""
    try:
        return records.read(session_id)
    except StorageError as error:
        log.warning("late_clips passes over session %s: %s", session_id, error)
        return None


def _is_forgotten(record: SessionRecord) -> bool:
    """A listing found a clip, and its run was killed before it stored it or wrote down why not."""
    return any(record.clip_files.problem_of(clip.clip_uuid) is None for clip in record.missing)


def late_clips_sensor(job: UnresolvedAssetJobDefinition, batch_size: int) -> SensorDefinition:
    """The sensor; it sends no request itself, and asks for few enough runs to leave the budget to others."""

    @sensor(
        name="late_clips",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=DefaultSensorStatus.RUNNING,
        description="Lists sessions again 1 h, 1 d, 3 d, 7 d, 14 d, 30 d after their end: new, edited, deleted clips.",
    )
    def late_clips(context: SensorEvaluationContext, archive: ArchiveResource) -> SensorResult:
        order = context.instance.get_dynamic_partitions(SESSIONS)
        in_flight = sessions_in_flight(context.instance, order)
        cursor, wanted = plan_relists(Cursor.read(context.cursor), order, archive.records(), in_flight, now_utc())
        if not wanted:
            reason = f"No session is due; {len(cursor.due)} will be."
            return SensorResult(skip_reason=reason, cursor=cursor.model_dump_json())
        return SensorResult(
            run_requests=list(run_requests(wanted, order, batch_size, PRIORITY, "late clips")),
            cursor=cursor.model_dump_json(),
        )

    return late_clips
