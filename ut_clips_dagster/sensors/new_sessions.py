"""`new_sessions`: finds sessions at UserTesting, adds their partitions and requests their runs."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dagster import (
    AssetMaterialization,
    AssetObservation,
    DagsterInstance,
    DagsterRunStatus,
    MetadataValue,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import BaseModel, ConfigDict, ValidationError

from ut_clips_dagster.account import ARCHIVE, ARCHIVE_JOB, DEFAULT, RESULTS_API, Account
from ut_clips_dagster.archive.discovery import next_test, problem_of
from ut_clips_dagster.archive.documents import SessionDocument
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.errors import DamagedDocumentError, ResultsApiError
from ut_clips_dagster.known_sessions import USERTESTING_SESSIONS, check_archive_is_there
from ut_clips_dagster.plain_text import one_line
from ut_clips_dagster.resources import ArchiveResource, ResultsApiResource
from ut_clips_dagster.results_api.client import SESSION_LIST_LIMIT, SESSION_LIST_MAX_OFFSET
from ut_clips_dagster.results_api.models import SessionPage, SessionSummary, UtcDatetime, now_utc
from ut_clips_dagster.sensor_names import NEW_SESSIONS
from ut_clips_dagster.sensors.outcomes import failing_visibly, is_archiving, why_unread
from ut_clips_dagster.sensors.run_requests import REASON_TAG, run_requests

PRIORITY = -1
OVERLAP = 25
"""Sessions a page of the crawl shares with the one before: some may have been deleted between the two requests."""
READ_TO_END_EVERY = timedelta(days=1)
READ_MALFORMED_EVERY = timedelta(hours=6)
"""The same while entries of the list are malformed or unread: they may be corrected without any other sign."""
MAX_MALFORMED = 50
MAX_MALFORMED_TOLD = 3
MOST_NEW_PER_TICK = ((5_000, 50), (50_000, 20))
"""(known sessions below, new ones taken): a tick is to take less than 5 s, and the rest of the page waits for the next.

A new session costs Dagster five events, a partition and a share of a run, 0.06 s in SQLite; and to create a run it
lists all partitions four times (0.4 s each at 100,000). Measured: 3.0 s, 3.6 s and 2.7 s (docs/scale.md)."""
FEWEST_NEW_PER_TICK = 10
"""Ten in five minutes are as many as the request budget archives, at two clips a session."""

ENOUGH_QUEUED = 2
"""So many runs of new sessions in the queue last longer than a tick's interval: nothing is gained by finding more."""
REASON = "new session"

log = logging.getLogger(__name__)


class Unread(BaseModel):
    """A page deep in a list that could not be read; the newest sessions are found all the same."""

    model_config = ConfigDict(frozen=True)

    offset: int
    """Where it begins."""
    since: UtcDatetime
    """When it could not be read for the first time."""
    asked_at: UtcDatetime
    """When it was last asked for."""
    problem: str

    @property
    def failed_again(self) -> bool:
        """Whether it failed once more, the newest page having been read in between: so it is no outage."""
        return self.asked_at > self.since

    def waits(self, now: datetime) -> bool:
        """Whether it is not asked for yet: at once after the first failure, then ever more seldom."""
        wait = min(self.asked_at - self.since, READ_MALFORMED_EVERY)
        return now - self.asked_at < wait and not is_future(self.asked_at, now)


class CrawlState(BaseModel):
    """How far one test's session list has been read."""

    model_config = ConfigDict(frozen=True)

    offset: int = 0
    """Where the next page begins."""
    known_total: int | None = None
    """`totalCount` when the list was last read to its end, and what was found since; None before that."""
    read_to_end_at: UtcDatetime | None = None
    """When the crawl that last reached the end began."""
    began_at: UtcDatetime | None = None
    """When the crawl under way began."""
    malformed: dict[str, UtcDatetime] = {}
    """Entries that could not be understood when they were last read, and when that was; at most `MAX_MALFORMED`."""
    unread: Unread | None = None
    """The page that kept the list from being read on when that was last tried."""


class Cursor(BaseModel):
    """The sensor's memory. One that cannot be read starts over: sessions known already are skipped.

    Whose turn it is, is not here: a tick that fails keeps no cursor (`archive/discovery.py`).
    """

    model_config = ConfigDict(frozen=True)

    going_on_with: str = ""
    """The test of whose page some new sessions wait for the next tick."""
    tests: dict[str, CrawlState] = {}

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The cursor, or a new one."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            log.warning("The cursor of new_sessions cannot be read; the session lists are read from their beginning.")
            return cls()


def most_new(known: int) -> int:
    """How many new sessions a tick takes when so many are known."""
    return next((most for below, most in MOST_NEW_PER_TICK if known < below), FEWEST_NEW_PER_TICK)


def next_state(state: CrawlState, page: SessionPage, new: int, now: datetime, *, all_taken: bool) -> CrawlState:
    """Where to go on after a page: deeper while something may be unseen there, else back to the newest.

    Sessions that finish late can stand deep in the list. `totalCount` betrays them, unless as many were deleted; so
    the list is also read to its end once a day.

    Args:
        state: before the page.
        page: what was read at `state.offset`.
        new: how many of its sessions were unknown.
        now: the present moment.
        all_taken: False when some of the new ones wait for the next tick: the page is read again.
    """
    if not all_taken:
        return state
    total = page.meta.pagination.total_count
    following = state.offset + page.entries
    known_total = None if state.known_total is None else state.known_total + new
    began_at = now if state.offset == 0 else state.began_at
    malformed = malformed_now(state.malformed, page, now)
    if page.is_last(state.offset) or state.offset >= SESSION_LIST_MAX_OFFSET:
        left = {name: at for name, at in malformed.items() if began_at is None or began_at <= at <= now}
        return CrawlState(known_total=total, read_to_end_at=began_at, malformed=left)
    every = READ_MALFORMED_EVERY if malformed or state.unread else READ_TO_END_EVERY
    last = state.read_to_end_at
    recently = last is not None and now - last < every and not is_future(last, now)
    nothing_deeper = total is not None and known_total == total and recently
    unread = state.unread if state.unread and state.offset < state.unread.offset else None
    if state.offset == 0 and (nothing_deeper or (unread and unread.waits(now))):
        return CrawlState(
            known_total=known_total, read_to_end_at=state.read_to_end_at, malformed=malformed, unread=unread
        )
    # without overlap at the end of a list whose total makes no sense: its last sessions would be read again and again
    overlap = OVERLAP if page.entries > OVERLAP and total is not None and total > following else 0
    offset = min(max(following - overlap, state.offset + 1), SESSION_LIST_MAX_OFFSET)
    return CrawlState(
        offset=offset,
        known_total=known_total,
        read_to_end_at=state.read_to_end_at,
        began_at=began_at,
        malformed=malformed,
        unread=unread,
    )


def newest_next(state: CrawlState, problem: str, now: datetime) -> CrawlState:
    """Where to go on when a page deep in the list cannot be read: it may be so for ever, and hide all that is new."""
    since = state.unread.since if state.unread else now
    unread = Unread(offset=state.offset, since=since, asked_at=now, problem=problem)
    return state.model_copy(update={"offset": 0, "unread": unread})


def malformed_now(before: Mapping[str, datetime], page: SessionPage, now: datetime) -> dict[str, datetime]:
    """Names of malformed entries after a page, those it shows corrected taken out."""
    corrected = {session.session_id for session in page.sessions}
    names = {name: at for name, at in before.items() if name not in corrected}
    names.update({entry.uuid or entry.reason: now for entry in page.malformed})
    return dict(list(names.items())[-MAX_MALFORMED:])


def malformed_events(
    test_id: str, before: Mapping[str, datetime], page: SessionPage, account: Account = DEFAULT
) -> list[AssetObservation]:
    """One event that names what is malformed, when there is some that was not the last time: not one a tick."""
    if all((entry.uuid or entry.reason) in before for entry in page.malformed):
        return []
    reasons = [entry.reason for entry in page.malformed[:MAX_MALFORMED]]
    metadata: dict[str, Any] = {
        "test_id": test_id,
        "malformed": len(page.malformed),
        "reasons": MetadataValue.json(reasons),
    }
    return [AssetObservation(account.key(USERTESTING_SESSIONS), metadata=metadata)]


def told_left_out(state: CrawlState, page: SessionPage) -> str:
    """What the tick says of what is malformed or unread; nothing when all was understood."""
    told = ""
    if state.unread:
        told += f" Those from number {state.unread.offset} on are unread, and asked for again. {state.unread.problem}"
    if state.malformed:
        reasons = " ".join(entry.reason for entry in page.malformed[:MAX_MALFORMED_TOLD])
        told += f" {len(state.malformed)} malformed entries are left out, and asked for again. {reasons}".rstrip()
    return told


def take_sessions(
    records: SessionRecords, test_id: str, unknown: Sequence[SessionSummary], account: Account = DEFAULT
) -> list[AssetMaterialization]:
    """Write `session.json` of each new session, then make its event."""
    events = []
    for summary in unknown:
        try:
            records.write_session(
                SessionDocument(
                    session_id=summary.session_id,
                    test_id=test_id,
                    status=summary.status,
                    started_at=summary.start_time,
                    finished_at=summary.finish_time,
                    found_at=now_utc(),
                )
            )
        except DamagedDocumentError as error:  # an earlier one of this session: its run says so, and fails alone
            log.warning("Session %s: %s", summary.session_id, error)
        metadata: dict[str, Any] = {
            "test_id": test_id,
            "status": one_line(summary.status),
            "started_at": summary.start_time.isoformat(),
            "finished_at": summary.finish_time.isoformat() if summary.finish_time else "unknown",
        }
        key = account.key(USERTESTING_SESSIONS)
        events.append(AssetMaterialization(key, partition=summary.session_id, metadata=metadata))
    return events


def enough_queued(instance: DagsterInstance, account: Account = DEFAULT) -> bool:
    """Whether new sessions wait for their runs already: a request would take from the budget that these wait for."""
    job = account.named(ARCHIVE_JOB)
    queued = RunsFilter(job_name=job, statuses=[DagsterRunStatus.QUEUED], tags={REASON_TAG: REASON})
    return instance.get_runs_count(queued) >= ENOUGH_QUEUED


def find_sessions(
    context: SensorEvaluationContext, results_api: ResultsApiResource, archive: ArchiveResource, batch_size: int
) -> SensorResult:
    """One tick: ask the test whose turn it is for a page, and take what is new.

    Raises:
        ClipsError: a person has to know why not.
    """
    account = archive.account
    check_archive_is_there(context.instance, archive.table(), account)
    if enough_queued(context.instance, account):
        reason = "Runs of new sessions are queued; asked again when fewer are."
        return SensorResult(skip_reason=reason, cursor=context.cursor)
    cursor = Cursor.read(context.cursor)
    discoveries = archive.discoveries()
    test_ids = list(dict.fromkeys(results_api.test_ids))
    test_id = next_test(test_ids, discoveries.read_all(test_ids), now_utc(), cursor.going_on_with)
    state = cursor.tests.get(test_id, CrawlState())
    discoveries.asking(test_id)
    try:
        with results_api.client(waiting=False) as client:
            page = client.list_sessions(test_id, offset=state.offset)
    except ResultsApiError as error:
        document = discoveries.failed(test_id, error)
        if state.offset and problem_of(error) == "outage":
            reason = f"Test {test_id}: {error} That is of its sessions from number {state.offset}; next the newest."
            tests = {**cursor.tests, test_id: newest_next(state, str(error), now_utc())}
            kept = cursor.model_copy(update={"tests": tests}).model_dump_json()
            return SensorResult(skip_reason=reason, cursor=kept)
        reason = why_unread(document, archiving=is_archiving(context.instance, account), now=now_utc())
        return SensorResult(skip_reason=reason, cursor=context.cursor)
    known = set(context.instance.get_dynamic_partitions(account.partitions))
    unknown = list({s.session_id: s for s in page.sessions if s.session_id not in known}.values())
    taken = unknown[: most_new(len(known))]
    events: list[AssetMaterialization | AssetObservation] = [*take_sessions(archive.records(), test_id, taken, account)]
    following = next_state(state, page, len(taken), now_utc(), all_taken=len(taken) == len(unknown))
    total = page.meta.pagination.total_count
    left_out = len(following.malformed) + bool(following.unread and following.unread.failed_again)
    discoveries.succeeded(test_id, page.entries if total is None else total, left_out)
    events += malformed_events(test_id, state.malformed, page, account)
    told = told_left_out(following, page)
    if told:
        context.log.warning(f"Test {test_id}:{told}")
    if following.known_total is not None and following.known_total > SESSION_LIST_LIMIT + SESSION_LIST_MAX_OFFSET:
        context.log.warning(
            f"Test {test_id} has {following.known_total} sessions; the API lists only the newest "
            f"{SESSION_LIST_LIMIT + SESSION_LIST_MAX_OFFSET}."
        )
    waiting = test_id if len(taken) < len(unknown) else ""
    kept = Cursor(going_on_with=waiting, tests={**cursor.tests, test_id: following}).model_dump_json()
    if not taken:
        reason = f"Test {test_id}: no new session among {len(page.sessions)} from number {state.offset}.{told}"
        return SensorResult(skip_reason=reason, asset_events=events, cursor=kept)
    keys = [s.session_id for s in taken]
    return SensorResult(
        run_requests=list(run_requests(keys, keys, batch_size, PRIORITY, REASON, account=account)),
        dynamic_partitions_requests=[account.sessions.build_add_request(keys)],
        asset_events=events,
        cursor=kept,
    )


def new_sessions_sensor(
    job: UnresolvedAssetJobDefinition, interval_s: int, batch_size: int, account: Account = DEFAULT
) -> SensorDefinition:
    """The sensor; one session-list request a tick, round-robin over the tests, never waiting for budget.

    A tick fails when access is lost, or when nothing was read of a test for an hour; before that it is skipped.
    """
    resources = (RESULTS_API, ARCHIVE)

    @sensor(
        name=account.named(NEW_SESSIONS),
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=account.sensor_status,
        required_resource_keys={account.named(key) for key in resources},
        description="Finds sessions at UserTesting, adds a partition for each and requests runs in batches.",
    )
    @failing_visibly()
    def new_sessions(context: SensorEvaluationContext, **_: object) -> SensorResult:
        results_api, archive = (account.resource(context, key) for key in resources)
        return find_sessions(context, results_api, archive, batch_size)

    return new_sessions
