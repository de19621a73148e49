"""`late_clips`: lists finished sessions again, as researchers cut, rename and delete clips long after a session."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from dagster import (
    AssetRecordsFilter,
    DagsterInstance,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.storage.tags import PRIORITY_TAG
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.account import ARCHIVE, DEFAULT, Account
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.relisting import next_relist
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.known_sessions import (
    CLIP_LIST,
    RELIST,
    check_archive_is_there,
    relist_config,
    sessions_in_flight,
)
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import UtcDatetime, is_uuid, now_utc
from ut_clips_dagster.run_queue import AT_WORK, BATCH_TAG
from ut_clips_dagster.sensor_names import INTERVALS_S, LATE_CLIPS
from ut_clips_dagster.sensors.outcomes import failing_visibly
from ut_clips_dagster.sensors.run_requests import REASON_TAG

PRIORITY = -3
TAGS = {PRIORITY_TAG: str(PRIORITY), REASON_TAG: "late clips"}
INTERVAL_S = INTERVALS_S[LATE_CLIPS]
"""Few runs of many sessions: a run costs Dagster's storage 0.3 MB, and the first of the times is an hour."""
MAX_SESSIONS_PER_TICK = 60
"""A fifth of the requests the API allows in `INTERVAL_S`: new sessions and retries keep the rest."""
MAX_READ_PER_TICK = 1000
MAX_DUE_PER_TICK = 5 * MAX_SESSIONS_PER_TICK
"""Due sessions looked at in a tick: most of those that a run touched turn out to need nothing."""
REMEMBERED = 20
"""Names of partitions that the cursor keeps."""
ASK_AGAIN_AFTER = timedelta(hours=1)

log = logging.getLogger(__name__)


class Cursor(BaseModel):
    """The sensor's memory."""

    model_config = ConfigDict(frozen=True)

    last_seen: tuple[str, ...] = ()
    """The last partitions it has looked at, in Dagster's order, in which new ones come last: by name, as a number would
    shift with each partition that is deleted. Should all of these be deleted, all others are looked at again."""
    due: dict[str, UtcDatetime] = {}
    """When each session of the last 30 days, and each that a run has just listed, is to be looked at."""
    event: int | None = None
    """Storage ID of the newest event of `clip_list` that it has looked at."""
    looked_at: UtcDatetime | None = None
    """When it was written."""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor, or a new one: then the documents are looked at again, over some ticks."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            log.warning("The cursor of late_clips cannot be read; the sessions' documents are read again.")
            return cls()


def plan_relists(  # noqa: PLR0913, PLR0917 - a pure function of all it depends on
    cursor: Cursor,
    order: Sequence[str],
    records: SessionRecords,
    in_flight: set[str],
    now: datetime,
    touched: Iterable[str] = (),
) -> tuple[Cursor, list[str]]:
    """Which sessions to list now, and what to remember. Reads documents of new partitions and of due sessions only.

    Args:
        cursor: what is remembered.
        order: all sessions' keys in Dagster's order.
        records: the sessions' documents.
        in_flight: sessions that a run holds; they wait.
        now: the present moment.
        touched: sessions that a run held since the last tick; one that was killed may have listed a new clip and told
            nobody, so they are looked at once more.
    """
    if cursor.looked_at and is_future(cursor.looked_at, now):  # what it forgot as settled may not be
        cursor = Cursor(event=cursor.event)
    known = set(order)
    due = dict.fromkeys(touched, now + ASK_AGAIN_AFTER) | cursor.due
    due = {session_id: at for session_id, at in due.items() if session_id in known}  # others were deleted
    fresh = unseen(order, cursor.last_seen)[:MAX_READ_PER_TICK]
    for session_id, record in _read(records, fresh):
        if (at := next_relist(record, now) if record else now + ASK_AGAIN_AFTER) is not None:
            due[session_id] = at
    soonest = sorted((at, session_id) for session_id, at in due.items() if at <= now and session_id not in in_flight)
    wanted: list[str] = []
    for session_id, record in _read(records, [session_id for _, session_id in soonest[:MAX_DUE_PER_TICK]]):
        if len(wanted) >= MAX_SESSIONS_PER_TICK:
            break
        again = next_relist(record, now) if record else None
        if record is None or record.clip_list is None:
            due[session_id] = now + ASK_AGAIN_AFTER  # not listed at all yet: new_sessions and its retries see to it
        elif _is_forgotten(record) or (again is not None and again <= now):
            wanted.append(session_id)
            due[session_id] = now + ASK_AGAIN_AFTER
        elif again is None:
            del due[session_id]
        else:
            due[session_id] = again
    last_seen = tuple([*(key for key in cursor.last_seen if key in known), *fresh][-REMEMBERED:])
    return cursor.model_copy(update={"last_seen": last_seen, "due": due}), wanted


def unseen(order: Sequence[str], last_seen: Sequence[str]) -> Sequence[str]:
    """What follows the partitions that were looked at last.

    They stood one after the other, and deletions keep it so: one that was deleted and added again stands behind others
    that were not looked at yet, and does not count.
    """
    remembered = set(last_seen)
    start = next((index for index, key in enumerate(order) if key in remembered), 0)
    while start < len(order) and order[start] in remembered:
        start += 1
    return order[start:]


def _read(records: SessionRecords, session_ids: Sequence[str]) -> Iterator[tuple[str, SessionRecord | None]]:
    """Documents; a session whose are damaged must not stop the others: it is looked at again an hour later."""
    for session_id, record in records.read_all(session_ids):
        if isinstance(record, StorageError):
            log.warning("late_clips passes over session %s: %s", session_id, record)
        yield session_id, None if isinstance(record, StorageError) else record


def touched_sessions(
    instance: DagsterInstance, since: int | None, account: Account = DEFAULT
) -> tuple[int | None, list[str]]:
    """The newest event of `clip_list` up to which was looked, and the sessions of those after `since`.

    A run logs sessions that were complete before it begins; so of a killed one there is an event, too.
    """
    if since is None:
        newest = instance.fetch_materializations(account.key(CLIP_LIST), 1).records
        return (newest[0].storage_id if newest else 0), []
    filtered = AssetRecordsFilter(account.key(CLIP_LIST), after_storage_id=since)
    records = instance.fetch_materializations(filtered, MAX_READ_PER_TICK, ascending=True).records
    last = records[-1].storage_id if records else since
    return last, [record.partition_key for record in records if record.partition_key]


def _is_forgotten(record: SessionRecord) -> bool:
    """A listing found a clip, and its run was killed before it stored it or wrote down why not."""
    return any(record.clip_files.problem_of(clip.clip_uuid) is None for clip in record.missing)


def late_clips_sensor(account: Account = DEFAULT) -> SensorDefinition:
    """The sensor; it sends no request itself, and asks for one run a tick, of few enough sessions to leave budget."""

    @sensor(
        name=account.named(LATE_CLIPS),
        job_name=account.named(RELIST),
        minimum_interval_seconds=INTERVAL_S,
        default_status=account.sensor_status,
        required_resource_keys={account.named(ARCHIVE)},
        description="Lists sessions again 1 h, 1 d, 3 d, 7 d, 14 d, 30 d after their end: new, edited, deleted clips.",
    )
    @failing_visibly()
    def late_clips(context: SensorEvaluationContext, **_: object) -> SensorResult:
        archive: ArchiveResource = account.resource(context, ARCHIVE)
        check_archive_is_there(context.instance, archive.table(), account)
        order = context.instance.get_dynamic_partitions(account.partitions)
        in_flight = sessions_in_flight(context.instance, order, account=account)
        session_ids = [key for key in order if is_uuid(key)]
        before = Cursor.read(context.cursor)
        event, touched = touched_sessions(context.instance, before.event, account)
        now = now_utc()
        cursor, wanted = plan_relists(before, session_ids, archive.records(), in_flight, now, touched)
        cursor = cursor.model_copy(update={"event": event, "looked_at": now})
        if not wanted:
            reason = f"No session is due; {len(cursor.due)} will be."
            return SensorResult(skip_reason=reason, cursor=cursor.model_dump_json())
        return SensorResult(
            run_requests=[
                RunRequest(run_config=relist_config(wanted, account), tags={**TAGS, BATCH_TAG: account.named(AT_WORK)})
            ],
            cursor=cursor.model_dump_json(),
        )

    return late_clips
