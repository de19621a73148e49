"""`late_clips` lists finished sessions again on schedule, within a share of the budget; zero clips is never final."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from dagster import DagsterRunStatus
from hypothesis import given, settings
from hypothesis import strategies as st

from ut_clips_dagster.archive.documents import ClipListDocument, SessionDocument
from ut_clips_dagster.archive.relisting import RELIST_AFTER, next_relist
from ut_clips_dagster.known_sessions import RELIST, sessions_in_flight, sessions_to_relist
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.sensors.late_clips import (
    MAX_SESSIONS_PER_TICK,
    Cursor,
    plan_relists,
    unseen,
)
from ut_clips_dagster.simulator import DEMO_TEST_ID
from ut_clips_dagster_tests.platform import TestPlatform
from ut_clips_dagster_tests.sensors.ticks import skip_reason, tick

FINISHED = datetime(2026, 11, 1, tzinfo=timezone.utc)


def listed(platform: TestPlatform, session_id: str, at: datetime) -> None:
    records = platform.archive.records()
    records.write_session(
        SessionDocument(
            session_id=session_id,
            test_id=DEMO_TEST_ID,
            status="COMPLETE",
            started_at=FINISHED,
            finished_at=FINISHED,
            found_at=FINISHED,
        )
    )
    listing = ClipListDocument(
        session_id=session_id, study_uuid=DEMO_TEST_ID, first_listed_at=FINISHED, listed_at=at, clips=()
    )
    records.write_listing(session_id, lambda _: listing)


def test_a_session_is_due_at_each_time_of_the_schedule_and_then_never_again(platform: TestPlatform) -> None:
    session = platform.sessions()[0]
    due = []
    at = FINISHED
    for _ in range(len(RELIST_AFTER)):
        listed(platform, session, at)
        at = next_relist(platform.archive.records().read(session), at) or FINISHED
        due.append(at - FINISHED)
    listed(platform, session, at)

    assert tuple(due) == RELIST_AFTER
    assert next_relist(platform.archive.records().read(session), at) is None


def test_due_sessions_are_requested_up_to_a_share_of_the_budget(platform: TestPlatform) -> None:
    keys = [f"00000000-0000-4000-8000-{n:012d}" for n in range(MAX_SESSIONS_PER_TICK + 5)]
    for key in keys:
        listed(platform, key, FINISHED)
    now = FINISHED + timedelta(hours=2)
    records = platform.archive.records()

    cursor, first = plan_relists(Cursor(), keys, records, set(), now)
    cursor, second = plan_relists(cursor, keys, records, set(), now)

    assert len(first) == MAX_SESSIONS_PER_TICK
    assert sorted(first + second) == keys


def test_a_clip_added_long_after_the_session_is_stored_by_the_requested_run(platform: TestPlatform) -> None:
    tick(platform, "new_sessions")
    session = platform.sessions()[0]
    listed(platform, session, FINISHED)
    platform.simulator.world.add_clip(session, name="Cut much later")

    result = tick(platform, "late_clips")
    (request,) = result.run_requests or ()
    assert sessions_to_relist(request.run_config) == [session]
    assert platform.relist([session]).success

    rows = platform.archive.table().read([session])
    assert "Cut much later" in set(rows["clip_name"])
    assert set(rows["status"]) == {"STORED"}
    assert not tick(platform, "late_clips", result.cursor).run_requests


def test_scattered_sessions_are_listed_again_by_one_run_that_counts_as_holding_them(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    scattered = keys[::3]
    for key in scattered:
        listed(platform, key, FINISHED)

    (request,) = tick(platform, "late_clips").run_requests or ()

    assert sorted(sessions_to_relist(request.run_config)) == sorted(scattered)
    job = platform.definitions.resolve_job_def(RELIST)
    platform.instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, run_config=request.run_config)
    assert sessions_in_flight(platform.instance, keys) == set(scattered)


def test_nothing_due_says_how_many_will_be(platform: TestPlatform) -> None:
    tick(platform, "new_sessions")

    result = tick(platform, "late_clips")

    assert "No session is due; 12 will be" in skip_reason(result)


def test_a_session_that_failed_to_be_listed_is_asked_for_again_an_hour_later(platform: TestPlatform) -> None:
    key = platform.sessions()[0]
    listed(platform, key, FINISHED)
    records, now = platform.archive.records(), now_utc()
    cursor, first = plan_relists(Cursor(), [key], records, set(), now)

    cursor, soon = plan_relists(cursor, [key], records, set(), now + timedelta(minutes=30))
    _, later = plan_relists(cursor, [key], records, set(), now + timedelta(minutes=61))

    assert (first, soon, later) == ([key], [], [key])


def test_a_new_clip_that_a_killed_run_listed_is_found_however_old_the_session(platform: TestPlatform) -> None:
    old = platform.simulator.world.add_session(clips=1, finished_at=now_utc() - timedelta(days=60)).session_id
    tick(platform, "new_sessions")
    first = tick(platform, "late_clips")
    platform.run(old)
    records, order = platform.archive.records(), [*platform.sessions()]
    listing = records.read(old).clip_list
    assert listing is not None
    another = listing.clips[0].model_copy(update={"clip_uuid": "00000000-0000-4000-8000-000000000001"})
    records.write_listing(old, lambda _: listing.model_copy(update={"clips": (*listing.clips, another)}))

    second = tick(platform, "late_clips", first.cursor)
    _, wanted = plan_relists(Cursor.read(second.cursor), order, records, set(), now_utc() + timedelta(minutes=61))

    assert old in wanted


def test_a_session_that_a_run_completed_is_looked_at_once_more_and_no_longer(platform: TestPlatform) -> None:
    old = platform.simulator.world.add_session(clips=1, finished_at=now_utc() - timedelta(days=60)).session_id
    tick(platform, "new_sessions")
    first = tick(platform, "late_clips")
    platform.run(old)

    second = Cursor.read(tick(platform, "late_clips", first.cursor).cursor)
    later, wanted = plan_relists(second, [old], platform.archive.records(), set(), now_utc() + timedelta(minutes=61))

    assert old in second.due
    assert old not in later.due
    assert wanted == []


def test_a_key_that_is_no_session_stops_no_tick(platform: TestPlatform) -> None:
    tick(platform, "new_sessions")
    session = platform.sessions()[0]
    listed(platform, session, FINISHED)
    platform.add_partitions(["by hand", "../../etc/passwd", session.upper(), "x" * 300])

    result = tick(platform, "late_clips")

    assert [sessions_to_relist(request.run_config) for request in result.run_requests or ()] == [[session]]


def test_a_deleted_partition_hides_no_other_and_is_not_asked_for(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    for key in keys:
        listed(platform, key, now_utc())
    first = tick(platform, "late_clips")
    for key in keys[:3]:
        platform.instance.delete_dynamic_partition(SESSIONS, key)
    new = platform.simulator.world.add_session(clips=1).session_id
    listed(platform, new, FINISHED)
    platform.add_partitions([new])

    second = tick(platform, "late_clips", first.cursor)

    assert [sessions_to_relist(request.run_config) for request in second.run_requests or ()] == [[new]]
    assert not set(keys[:3]) & set(Cursor.read(second.cursor).due)


def test_the_cursor_of_an_earlier_version_loses_nothing_that_is_due() -> None:
    old = '{"seen": 4711, "due": {"a": "2026-11-01T00:00:00Z"}, "event": 17}'

    assert Cursor.read(old) == Cursor(due={"a": FINISHED}, event=17)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["add", "delete", "re-add", "look"]), max_size=30), st.randoms(use_true_random=False))
def test_every_partition_is_looked_at_whatever_is_deleted_or_added_again(steps: list[str], random: object) -> None:
    """As long as one of the last looked at stays where it was, or all of them are gone."""
    order: list[str] = []
    deleted: list[str] = []
    looked: set[str] = set()
    last: list[str] = []
    moved: set[str] = set()
    number = 0
    for step in [*steps, "look"]:
        if step == "add":
            order.append(f"k{(number := number + 1)}")
        elif step == "delete" and order:
            deleted.append(order.pop(random.randrange(len(order))))  # type: ignore[attr-defined]
            looked.discard(deleted[-1])
        elif step == "re-add" and deleted:
            moved.add(key := deleted.pop())
            order.append(key)
        elif step == "look":
            fresh = unseen(order, last)
            looked.update(fresh)
            if moved.isdisjoint(last) or (set(last) - moved).intersection(order):
                assert set(order) - moved.intersection(last) <= looked  # these keep the time that is known of them
            looked.update(order)
            moved.clear()
            last = [*(key for key in last if key in order), *fresh][-20:]


def test_at_a_hundred_thousand_sessions_the_cursor_stays_small(platform: TestPlatform) -> None:
    order = [f"00000000-0000-4000-8000-{n:012d}" for n in range(100_000)]
    cursor = Cursor(last_seen=tuple(order[-20:]))

    after, wanted = plan_relists(cursor, order, platform.archive.records(), set(), now_utc())

    assert (wanted, after) == ([], cursor)
    assert len(after.model_dump_json()) < 1000
