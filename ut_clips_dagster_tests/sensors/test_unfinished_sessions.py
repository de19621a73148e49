"""`unfinished_sessions` tries again on schedule, a bounded number of times, whatever the reason."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from dagster import AssetKey, DagsterRunStatus

from ut_clips_dagster.definitions import JOB
from ut_clips_dagster.sensors.unfinished_sessions import RETRY_AFTER, Cursor, Tries, plan_retries
from ut_clips_dagster_tests.platform import ASSETS, TestPlatform
from ut_clips_dagster_tests.sensors.ticks import skip_reason, tick
from ut_clips_dagster_tests.waiting import without_waiting

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def long_ago(cursor: str | None) -> str:
    """The cursor as it is after all waiting times."""
    sessions = Cursor.read(cursor).sessions
    since = datetime(2020, 1, 1, tzinfo=timezone.utc)
    return Cursor(sessions={s: t.model_copy(update={"since": since}) for s, t in sessions.items()}).model_dump_json()


def test_retries_come_after_10_min_1_h_6_h_and_24_h_and_then_no_more() -> None:
    tries, _ = plan_retries({}, ["a"], set(), NOW)
    now, waited = NOW, []
    for _ in range(400):
        now += timedelta(minutes=10)
        tries, due = plan_retries(tries, ["a"], set(), now)
        if due:
            waited.append(now)
            tries, _ = plan_retries(tries, ["a"], set(), now, tried=due)

    expected = [NOW + sum(RETRY_AFTER[: n + 1], timedelta()) for n in range(len(RETRY_AFTER))]
    assert waited == expected


def test_a_session_in_flight_is_not_tried_and_waits_from_its_end() -> None:
    before = {"a": Tries(retries=1, since=NOW - timedelta(days=1))}

    tries, due = plan_retries(before, ["a"], {"a"}, NOW)

    assert due == []
    assert tries["a"] == Tries(retries=1, since=NOW)


def test_sessions_that_wait_for_their_first_run_take_no_room_in_the_cursor() -> None:
    """A first crawl queues thousands; Dagster keeps the cursor of every tick."""
    keys = [str(number) for number in range(10_000)]

    queued, due = plan_retries({}, keys, set(keys), NOW)
    later, _ = plan_retries(queued, keys, set(keys[1:]), NOW)

    assert (queued, due) == ({}, [])
    assert later == {"0": Tries(since=NOW)}


def test_a_finished_session_is_forgotten() -> None:
    tries, due = plan_retries({"a": Tries(since=NOW)}, [], set(), NOW)

    assert (tries, due) == ({}, [])


def test_partitions_that_were_added_but_never_launched_are_found(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    first = tick(platform, "unfinished_sessions")
    assert "12 unfinished, none due" in skip_reason(first)

    second = tick(platform, "unfinished_sessions", long_ago(first.cursor))

    spans = [(request.tags[START], request.tags[END]) for request in second.run_requests or ()]
    assert spans == [(keys[0], keys[9]), (keys[10], keys[11])]


def test_only_what_is_unfinished_is_requested_even_when_it_is_scattered(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[4])
    platform.run(keys[6], keys[11])
    first = tick(platform, "unfinished_sessions")

    second = tick(platform, "unfinished_sessions", long_ago(first.cursor))

    (request,) = second.run_requests or ()
    assert request.partition_key == keys[5]


def test_a_materialized_session_with_a_clip_that_is_not_stored_is_unfinished(platform: TestPlatform) -> None:
    """A later listing found a clip that could not be had: Dagster shows the older materialization all the same."""
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    clip = platform.simulator.world.add_clip(keys[3])
    platform.simulator.faults.add(f"clip_error:clip_uuid={clip.clip_uuid}")
    platform.run(keys[3])
    first = tick(platform, "unfinished_sessions")

    second = tick(platform, "unfinished_sessions", long_ago(first.cursor))

    assert [request.partition_key for request in second.run_requests or ()] == [keys[3]]


def test_sessions_of_a_run_under_way_are_left_to_it(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    job = platform.definitions.resolve_job_def(JOB)
    tags = {START: keys[0], END: keys[-1]}
    platform.instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, tags=tags)
    first = tick(platform, "unfinished_sessions")

    second = tick(platform, "unfinished_sessions", long_ago(first.cursor))

    assert not second.run_requests


def test_a_cancelled_run_leaves_its_sessions_to_be_tried_again(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    job = platform.definitions.resolve_job_def(JOB)
    tags = {START: keys[0], END: keys[-1]}
    platform.instance.create_run_for_job(job, status=DagsterRunStatus.CANCELED, tags=tags)
    first = tick(platform, "unfinished_sessions")

    second = tick(platform, "unfinished_sessions", long_ago(first.cursor))

    assert len(second.run_requests or ()) == 2


def test_an_unreadable_cursor_starts_the_retries_over(platform: TestPlatform) -> None:
    platform.add_partitions()

    result = tick(platform, "unfinished_sessions", cursor="garbage")

    assert "12 unfinished, none due" in skip_reason(result)


def test_a_key_that_is_no_session_is_named_and_never_tried(platform: TestPlatform) -> None:
    platform.add_partitions(["typed by hand"])

    first = tick(platform, "unfinished_sessions")
    second = tick(platform, "unfinished_sessions", long_ago(first.cursor))

    assert "0 unfinished" in skip_reason(first)
    assert "Partition 'typed by hand' is no session" in skip_reason(first)
    assert not second.run_requests


def launch_failed(platform: TestPlatform, first: str, last: str | None = None) -> None:
    """A run that ended before it began: its code server could not be reached."""
    job = platform.definitions.resolve_job_def(JOB)
    tags = {START: first, END: last or first}
    run = platform.instance.create_run_for_job(job, status=DagsterRunStatus.STARTING, tags=tags)
    platform.instance.report_run_failed(run)


def test_only_a_run_that_found_something_wrong_counts_as_a_try() -> None:
    asked = {"a": Tries(since=NOW, asked=True), "b": Tries(since=NOW, asked=True)}
    later = NOW + timedelta(minutes=1)

    tries, due = plan_retries(asked, ["a", "b"], set(), later, tried=["a"])

    assert tries == {"a": Tries(retries=1, since=later), "b": Tries(in_vain=1, since=later)}
    assert due == []


def test_a_session_whose_runs_never_begin_is_asked_for_again_without_end(platform: TestPlatform) -> None:
    key = platform.add_partitions()[0]
    cursor: str | None = None
    for _ in range(2 * len(RETRY_AFTER)):
        cursor = tick(platform, "unfinished_sessions", cursor).cursor  # waits
        asked = tick(platform, "unfinished_sessions", long_ago(cursor))
        assert asked.run_requests
        launch_failed(platform, key)
        cursor = asked.cursor

    tries = Cursor.read(tick(platform, "unfinished_sessions", cursor).cursor).sessions[key]

    assert tries.retries == 0


def test_a_session_that_every_run_finds_wrong_is_given_up_after_its_retries(platform: TestPlatform) -> None:
    key = platform.add_partitions()[0]
    platform.simulator.faults.add("clip_error")
    platform.run(key)
    cursor = tick(platform, "unfinished_sessions").cursor
    for _ in RETRY_AFTER:
        asked = tick(platform, "unfinished_sessions", long_ago(cursor))
        platform.run(key)
        cursor = tick(platform, "unfinished_sessions", asked.cursor).cursor

    last = tick(platform, "unfinished_sessions", long_ago(cursor))

    assert Cursor.read(last.cursor).sessions[key].retries == len(RETRY_AFTER)
    assert key not in {request.partition_key for request in last.run_requests or ()}


def test_only_what_is_wrong_with_a_session_itself_uses_up_its_retries(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an outage, lost access or a broken network: then nothing is known of the session."""
    without_waiting(monkeypatch)
    retries = {
        "server_error:operation=list_clips": 0,
        "unauthorized:operation=list_clips": 0,
        "forbidden:operation=list_clips": 0,
        "reset:operation=get_clip": 0,
        "server_error:operation=media": 0,
        "short_body:operation=media": 0,
        "not_found:operation=get_clip": 1,
        "clip_error": 1,
        "wrong_content_type": 1,
        "html:operation=list_clips": 1,
    }
    keys = platform.add_partitions(platform.sessions()[: len(retries)])
    for key, fault in zip(keys, retries, strict=True):
        clip = platform.simulator.world.add_clip(key)
        only = f"clip_uuid={clip.clip_uuid}" if "list_clips" not in fault else f"session_id={key}"
        platform.simulator.faults.add(f"{fault}{',' if ':' in fault else ':'}{only}")
    waiting = tick(platform, "unfinished_sessions").cursor
    asked = tick(platform, "unfinished_sessions", long_ago(waiting))

    platform.run(keys[0], keys[-1])

    tries = Cursor.read(tick(platform, "unfinished_sessions", asked.cursor).cursor).sessions
    assert {fault: tries[key].retries for key, fault in zip(keys, retries, strict=True)} == retries
    assert all(each.in_vain == 1 - each.retries for each in tries.values())


def test_a_retry_in_vain_is_made_up_for_soon_and_then_every_hour() -> None:
    tries, now, waited = {"a": Tries(retries=3, since=NOW)}, NOW, []
    for _ in range(400):
        now += timedelta(minutes=10)
        tries, due = plan_retries(tries, ["a"], set(), now)
        waited += [now] * len(due)
        if due:
            tries, _ = plan_retries(tries, ["a"], set(), now)

    gaps = [later - earlier for earlier, later in pairwise([NOW, *waited])]
    assert gaps[:4] == [RETRY_AFTER[3], RETRY_AFTER[0], RETRY_AFTER[1], RETRY_AFTER[1]]
    assert set(gaps[4:]) == {RETRY_AFTER[1]}
    assert tries["a"].left == 1


def test_what_a_killed_run_had_finished_is_shown_so_at_the_next_tick_without_a_request(platform: TestPlatform) -> None:
    """Their documents and rows are whole: by an earlier run, or by one that was killed before it logged its events."""
    keys = platform.add_partitions()
    platform.run(keys[0], keys[2])
    launch_failed(platform, keys[0], keys[4])
    assert platform.failed("clip_files") == set(keys[:5])
    platform.simulator.requests.clear()

    result = tick(platform, "unfinished_sessions")

    assert platform.failed("clip_files") == set(keys[3:5])
    for name in ASSETS:
        assert platform.materialized(name) == set(keys[:3])
    assert "3 that were finished are shown so" in skip_reason(result)
    assert not platform.simulator.requests.entries()
    again = tick(platform, "unfinished_sessions", result.cursor)
    assert not again.asset_events


def test_the_events_of_a_session_shown_anew_say_what_the_first_ones_said(platform: TestPlatform) -> None:
    key = platform.add_partitions()[0]
    platform.run(key)
    before = platform.instance.fetch_materializations(AssetKey("clip_files"), 1).records[0].asset_materialization
    launch_failed(platform, key)

    tick(platform, "unfinished_sessions")

    after = platform.instance.fetch_materializations(AssetKey("clip_files"), 1).records[0].asset_materialization
    assert before is not None
    assert after is not None
    for name in ("clips", "size_bytes", "listed_at", "clip_table", "dagster/uri"):
        assert after.metadata[name] == before.metadata[name]


def test_a_session_whose_rows_are_not_written_yet_is_not_shown_as_done(platform: TestPlatform) -> None:
    key = platform.add_partitions()[0]
    platform.run(key, assets=["clip_files"])
    platform.archive.table().replace(key, platform.archive.table().read([]))
    launch_failed(platform, key)

    result = tick(platform, "unfinished_sessions")

    assert not result.asset_events
    assert key in Cursor.read(result.cursor).sessions
