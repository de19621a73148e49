"""`new_sessions` finds every session, with one request a tick, and never waits for budget."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from dagster import AssetObservation, DagsterRunStatus
from hypothesis import given, settings
from hypothesis import strategies as st

from ut_clips_dagster.definitions import JOB
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.results_api.models import Pagination, SessionListMeta, SessionPage, SessionSummary
from ut_clips_dagster.run_queue import AT_WORK, BATCH_TAG
from ut_clips_dagster.sensors import new_sessions
from ut_clips_dagster.sensors.new_sessions import ENOUGH_QUEUED, REASON, CrawlState, Cursor, newest_next, next_state
from ut_clips_dagster.sensors.run_requests import REASON_TAG
from ut_clips_dagster.simulator import DEMO_TEST_ID, Fault, FaultName, Operation
from ut_clips_dagster_tests.platform import ORIGIN, TestPlatform
from ut_clips_dagster_tests.sensors.ticks import skip_reason, tick

START = "dagster/asset_partition_range_start"
END = "dagster/asset_partition_range_end"


def test_a_tick_adds_partitions_writes_documents_logs_events_and_requests_batches(platform: TestPlatform) -> None:
    result = tick(platform, "new_sessions")

    found = platform.sessions()
    assert platform.instance.get_dynamic_partitions(SESSIONS) == found
    assert [event.partition for event in result.asset_events or ()] == found
    spans = [(request.tags[START], request.tags[END]) for request in result.run_requests or ()]
    assert spans == [(found[0], found[9]), (found[10], found[11])]
    assert all(request.tags[BATCH_TAG] == AT_WORK for request in result.run_requests or ())
    assert all(request.run_key is None for request in result.run_requests or ())
    documents = [platform.archive.records().session(key) for key in found]
    assert [d.test_id for d in documents if d] == [DEMO_TEST_ID] * len(found)
    assert platform.simulator.requests.count(Operation.LIST_SESSIONS) == 1


def test_the_next_tick_finds_nothing_new_and_says_so(platform: TestPlatform) -> None:
    first = tick(platform, "new_sessions")

    second = tick(platform, "new_sessions", first.cursor)

    assert not second.run_requests
    assert "no new session among 12" in skip_reason(second)


def test_a_session_that_appears_later_is_found_and_requested_alone(platform: TestPlatform) -> None:
    first = tick(platform, "new_sessions")
    platform.simulator.world.add_session(clips=2)

    second = tick(platform, "new_sessions", first.cursor)

    (request,) = second.run_requests or ()
    assert request.partition_key == platform.sessions()[0]
    assert platform.instance.get_dynamic_partitions(SESSIONS)[-1] == request.partition_key


def queue(platform: TestPlatform, number: int, reason: str) -> None:
    job = platform.definitions.resolve_job_def(JOB)
    platform.add_partitions(["queued"])
    tags = {REASON_TAG: reason, "dagster/partition": "queued"}
    for _ in range(number):
        platform.instance.create_run_for_job(job, status=DagsterRunStatus.QUEUED, tags=tags, remote_job_origin=ORIGIN)


@pytest.mark.parametrize(("queued", "asks"), [(ENOUGH_QUEUED - 1, 1), (ENOUGH_QUEUED, 0)])
def test_it_asks_nothing_while_runs_of_new_sessions_are_queued(platform: TestPlatform, queued: int, asks: int) -> None:
    """Nothing is gained by finding more, and the request would be taken from the batches' budget."""
    cursor = Cursor(going_on_with=DEMO_TEST_ID).model_dump_json()
    queue(platform, queued, REASON)

    result = tick(platform, "new_sessions", cursor)

    assert platform.simulator.requests.count(Operation.LIST_SESSIONS) == asks
    assert (result.cursor == cursor) == (asks == 0)
    assert bool(result.run_requests) == bool(asks)


def test_runs_of_retries_and_rechecks_in_the_queue_do_not_keep_it_from_asking(platform: TestPlatform) -> None:
    queue(platform, ENOUGH_QUEUED + 1, "late clips")
    assert tick(platform, "new_sessions").run_requests


def test_an_unreadable_cursor_starts_over_and_loses_nothing(platform: TestPlatform) -> None:
    tick(platform, "new_sessions")

    result = tick(platform, "new_sessions", cursor="{not json")

    assert "no new session" in skip_reason(result)


def test_many_new_sessions_are_taken_over_several_ticks_of_one_page(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_sessions, "MOST_NEW_PER_TICK", ((1_000, 5),))
    cursor = None
    for _ in range(3):
        cursor = tick(platform, "new_sessions", cursor).cursor

    assert set(platform.instance.get_dynamic_partitions(SESSIONS)) == set(platform.sessions())


def test_fewer_are_taken_when_more_are_known(platform: TestPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_sessions, "MOST_NEW_PER_TICK", ((6, 6), (12, 3)))

    first = tick(platform, "new_sessions")
    second = tick(platform, "new_sessions", first.cursor)

    assert (len(first.asset_events or ()), len(second.asset_events or ())) == (6, 3)


def test_a_session_whose_event_was_never_logged_is_found_again(platform: TestPlatform) -> None:
    """A daemon that dies after the tick and before its partitions are added has its cursor unchanged."""
    lost = tick(platform, "new_sessions", carry_out=False)

    again = tick(platform, "new_sessions")

    assert len(lost.asset_events or ()) == len(again.asset_events or ()) == 12


def page(ids: list[str], offset: int, limit: int) -> SessionPage:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return SessionPage(
        test_id=DEMO_TEST_ID,
        sessions=tuple(
            SessionSummary(session_id=i, status="COMPLETE", start_time=at) for i in ids[offset : offset + limit]
        ),
        meta=SessionListMeta(pagination=Pagination(limit=limit, offset=offset, total_count=len(ids))),
    )


def uuid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


@settings(max_examples=40, deadline=None)  # on a busy machine the first example takes long
@given(
    st.integers(0, 700),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.booleans()), max_size=8),
)
def test_whatever_appears_or_is_deleted_during_the_crawl_every_session_is_found(
    at_first: int, changes: list[tuple[int, int, bool]]
) -> None:
    """Sessions appear at the front, some are deleted, late ones stand deep; the crawl still ends complete."""
    limit, number = 100, at_first
    upstream = [uuid_of(n) for n in reversed(range(at_first))]
    known: set[str] = set()
    state = CrawlState()
    todo = list(changes)
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for _ in range(100):
        now += timedelta(hours=1)
        answer = page(upstream, state.offset, limit)
        new = [s.session_id for s in answer.sessions if s.session_id not in known]
        known.update(new)
        state = next_state(state, answer, len(new), now, all_taken=True)
        if todo:
            appear, delete, deep = todo.pop()
            fresh = [uuid_of(number + n) for n in range(appear)]
            number += appear
            upstream = [*upstream, *fresh] if deep else [*reversed(fresh), *upstream]
            del upstream[:delete]
    assert known.issuperset(upstream)


def malformed(at: str, value: str) -> Fault:
    return Fault(name=FaultName.REPLACED, operation=Operation.LIST_SESSIONS, at=at, value=value)


def test_a_malformed_entry_is_shown_and_does_not_hide_the_other_sessions(platform: TestPlatform) -> None:
    bad = platform.sessions()[3]
    platform.simulator.faults.add(malformed("sessions.3.startTime", '"2026-11-24T12:00:00"'))

    first = tick(platform, "new_sessions")
    again = tick(platform, "new_sessions", first.cursor)

    found = platform.instance.get_dynamic_partitions(SESSIONS)
    assert found == [key for key in platform.sessions() if key != bad]
    (event,) = [event for event in first.asset_events or () if isinstance(event, AssetObservation)]
    assert event.metadata["malformed"].value == 1
    assert bad in str(event.metadata["reasons"].value)
    assert "1 malformed entries are left out, and asked for again" in skip_reason(again)
    assert f"the entry {bad}: startTime: Input should have timezone info" in skip_reason(again)
    assert not again.asset_events, "an event once, not at each tick"

    platform.simulator.faults.clear()
    corrected = tick(platform, "new_sessions", again.cursor)
    assert [request.partition_key for request in corrected.run_requests or ()] == [bad]
    assert "malformed" not in skip_reason(tick(platform, "new_sessions", corrected.cursor))


@pytest.mark.parametrize("total", ["null", "0", "9" * 15, '"12"'])
def test_a_total_that_makes_no_sense_stops_no_discovery(platform: TestPlatform, total: str) -> None:
    platform.simulator.faults.add(malformed("meta.pagination.totalCount", total))

    cursor = tick(platform, "new_sessions").cursor
    platform.simulator.world.add_session(clips=1)
    for _ in range(5):
        cursor = tick(platform, "new_sessions", cursor).cursor

    assert set(platform.instance.get_dynamic_partitions(SESSIONS)) == set(platform.sessions())


def test_while_deep_entries_are_malformed_the_list_is_read_to_its_end_more_often() -> None:
    now = datetime(2026, 11, 24, tzinfo=timezone.utc)
    at_end = CrawlState(known_total=600, read_to_end_at=now, malformed={"deep": now})
    newest = SessionPage.model_validate(
        {"sessions": [{"sessionId": uuid_of(n), "status": "COMPLETE", "startTime": 0} for n in range(500)],
         "meta": {"pagination": {"totalCount": 600}}}
    )  # fmt: skip

    soon = next_state(at_end, newest, 0, now + timedelta(hours=5), all_taken=True)
    later = next_state(at_end, newest, 0, now + timedelta(hours=7), all_taken=True)

    assert (soon.offset, later.offset) == (0, 475)
    assert soon.malformed == {"deep": now}


def test_a_page_that_always_fails_hides_nothing_new_and_is_asked_for_ever_more_seldom() -> None:
    """Record 700 of 1,200 cannot be read for a day, then it can; a session appears at the top every hour."""
    upstream = [uuid_of(n) for n in reversed(range(1_200))]
    known, state, asked, now = set(upstream[:475]), CrawlState(), [], datetime(2026, 1, 1, tzinfo=timezone.utc)
    for minutes in range(0, 34 * 60, 5):
        now += timedelta(minutes=5)
        if minutes % 60 == 0:
            upstream.insert(0, uuid_of(2_000 + minutes))
        asked.append(state.offset)
        if state.offset <= 700 < state.offset + 500 and minutes < 24 * 60:
            state = newest_next(state, "500", now)
            continue
        answer = page(upstream, state.offset, 500)
        new = [s.session_id for s in answer.sessions if s.session_id not in known]
        known.update(new)
        state = next_state(state, answer, len(new), now, all_taken=True)
        assert minutes % 60 < 10 or upstream[0] in known

    assert asked[:5] == [0, 475, 0, 475, 0], "an outage is over as soon as the newest are read"
    assert asked[: 24 * 12].count(475) == 9
    assert known == set(upstream)
    assert state.unread is None


def test_a_damaged_document_of_one_session_does_not_hide_the_others(platform: TestPlatform) -> None:
    """It was left by an earlier instance; the session's run says so, and fails alone."""
    damaged = platform.sessions()[2]
    path = platform.root / "sessions" / damaged / "session.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")

    tick(platform, "new_sessions")

    assert platform.instance.get_dynamic_partitions(SESSIONS) == platform.sessions()
