"""What follows on the clips is requested soon, caught up slowly, and never in the way of what archives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from dagster import AssetKey, AssetMaterialization, DagsterRunStatus, RunRequest
from dagster._core.storage.tags import PRIORITY_TAG
from dagster._core.test_utils import create_run_for_test

from ut_clips_dagster.definitions import JOB
from ut_clips_dagster.known_sessions import sessions_in_flight, sessions_of_unsuccessful_runs
from ut_clips_dagster.sensors import follow_on
from ut_clips_dagster.sensors.follow_on import BATCH, MAX_RUNS_WAITING, Cursor, most_runs, new_events, plan_tick
from ut_clips_dagster_tests.platform import TestPlatform
from ut_clips_dagster_tests.sensors.ticks import skip_reason, tick

NOW = datetime(2026, 11, 25, tzinfo=timezone.utc)
ORDER = [f"session {number:06d}" for number in range(1_000)]
DONE = Cursor(position=None, looked_at=NOW)


def span(request: RunRequest) -> tuple[str, str]:
    tags: Mapping[str, Any] = request.tags
    if request.partition_key:
        return request.partition_key, request.partition_key
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


def test_new_events_come_first_and_lowest_of_all_runs() -> None:
    cursor, requests = plan_tick(DONE, ORDER, set(ORDER[10:20]), None, set(), NOW)
    assert [span(r) for r in requests] == [(ORDER[10], ORDER[19])]
    assert {r.tags[PRIORITY_TAG] for r in requests} == {"-4"}
    assert cursor == DONE


def test_a_range_never_holds_a_session_that_lacks_nothing() -> None:
    _, requests = plan_tick(DONE, ORDER, {ORDER[1], ORDER[3], ORDER[4]}, None, {ORDER[4]}, NOW)
    assert [span(r) for r in requests] == [(ORDER[1], ORDER[1]), (ORDER[3], ORDER[3])]


def test_more_than_a_tick_requests_is_found_by_the_look_through_all() -> None:
    scattered = set(ORDER[::10])
    cursor, requests = plan_tick(DONE, ORDER, scattered, None, set(), NOW)
    asked = {span(r)[0] for r in requests}
    assert len(asked) == most_runs(len(ORDER))
    for _ in range(100):
        if cursor.position is None:
            break
        cursor, requests = plan_tick(cursor, ORDER, set(), scattered - asked, set(), NOW)
        asked |= {span(r)[0] for r in requests}
    assert asked == scattered
    assert cursor.position is None


def test_old_sessions_are_gone_through_in_order_once() -> None:
    cursor, asked = Cursor(), []
    for _ in range(10):
        cursor, requests = plan_tick(cursor, ORDER, set(), set(ORDER), set(), NOW)
        asked += [span(r) for r in requests]
        if cursor.position is None:
            break
    assert asked == [(ORDER[at], ORDER[at + BATCH - 1]) for at in range(0, len(ORDER), BATCH)]
    assert cursor.looked_at == NOW


def test_runs_per_tick_go_down_as_partitions_go_up() -> None:
    assert [most_runs(n) for n in (0, 4_999, 5_000, 49_999, 50_000, 100_000)] == [5, 5, 2, 2, 1, 1]


def test_an_unreadable_cursor_looks_through_all_again() -> None:
    assert Cursor.read("{") == Cursor.read(None) == Cursor()
    assert Cursor.read(DONE.model_dump_json()) == DONE


@pytest.fixture
def archived(platform: TestPlatform) -> TestPlatform:
    keys = platform.add_partitions()
    assert platform.run(keys[0], keys[3]).success
    return platform


def test_the_sensor_catches_up_follows_events_and_then_rests(
    archived: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, keys = archived, archived.sessions()
    result = tick(platform, "follow_clip_media")
    assert [span(r) for r in result.run_requests or ()] == [(keys[0], keys[3])]
    make_media(platform, keys[0], keys[3])

    rested = tick(platform, "follow_clip_media", result.cursor)
    assert not rested.run_requests
    assert skip_reason(tick(platform, "follow_clip_media", rested.cursor)) == "No new event."

    assert platform.run(keys[4], keys[9]).success
    result = tick(platform, "follow_clip_media", rested.cursor)
    assert [span(r) for r in result.run_requests or ()] == [(keys[4], keys[9])]
    assert {r.tags["ut_clips/reason"] for r in result.run_requests or ()} == {"new clips"}

    again = tick(platform, "follow_clip_media", result.cursor)  # what was requested is not seen to fail: later
    assert skip_reason(again) == "No new event."
    monkeypatch.setattr(follow_on, "now_utc", lambda: datetime.now(timezone.utc) + timedelta(hours=7))
    assert tick(platform, "follow_clip_media", again.cursor).run_requests


def test_sessions_without_clips_are_materialized_too_so_that_what_is_missing_is_yet_to_be_made(
    archived: TestPlatform,
) -> None:
    keys = archived.sessions()
    empty = archived.simulator.world.add_session().session_id
    archived.add_partitions([empty])
    assert archived.run(empty).success

    result = tick(archived, "follow_clip_media")

    assert empty in {s for r in result.run_requests or () for s in span(r)}
    make_media(archived, keys[0], keys[3])
    make_media(archived, empty, empty)
    assert archived.materialized("clip_media") == {*keys[:4], empty}
    assert not tick(archived, "follow_clip_media").run_requests


def make_media(platform: TestPlatform, first: str, last: str) -> None:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    job = platform.definitions.resolve_job_def("make_clip_media")
    assert job.execute_in_process(instance=platform.instance, tags=tags, raise_on_error=False).success


def test_the_sensor_requests_nothing_while_enough_runs_wait(archived: TestPlatform) -> None:
    for _ in range(MAX_RUNS_WAITING):
        create_run_for_test(archived.instance, job_name="make_clip_media", status=DagsterRunStatus.STARTED)
    waiting = tick(archived, "follow_clip_media")
    assert skip_reason(waiting) == "Enough runs wait already."
    assert Cursor.read(waiting.cursor) == Cursor()


def test_while_clips_are_archived_no_transcript_is_requested_and_then_all_that_lack_one(archived: TestPlatform) -> None:
    """Also where no event tells of them any more: a run that gave way ended without one."""
    run = create_run_for_test(archived.instance, job_name=JOB, status=DagsterRunStatus.STARTED)
    waiting = tick(archived, "follow_session_transcripts", DONE.model_dump_json())
    assert skip_reason(waiting) == "Clips come first."
    archived.instance.report_run_canceled(run)
    assert tick(archived, "follow_session_transcripts", waiting.cursor).run_requests


def test_a_waiting_run_of_what_follows_keeps_no_session_from_being_archived(platform: TestPlatform) -> None:
    first, second, third = platform.add_partitions()[:3]
    order = platform.sessions()
    create_run_for_test(
        platform.instance,
        job_name="make_clip_media",
        status=DagsterRunStatus.STARTED,
        tags={"dagster/partition": first},
    )
    create_run_for_test(
        platform.instance,
        job_name="__ASSET_JOB",
        status=DagsterRunStatus.FAILURE,
        tags={"dagster/partition": second},
        asset_selection=frozenset([AssetKey("clip_media")]),
    )
    create_run_for_test(
        platform.instance,
        job_name="__ASSET_JOB",
        status=DagsterRunStatus.STARTED,
        tags={"dagster/partition": third},
        asset_selection=frozenset([AssetKey("clip_media"), AssetKey("clip_files")]),
    )
    assert sessions_in_flight(platform.instance, order) == {third}
    assert sessions_of_unsuccessful_runs(platform.instance, order) == {third}
    assert sessions_in_flight(platform.instance, order, "make_clip_media") == {first}


def test_events_are_read_from_where_the_sensor_stopped_a_bounded_number_at_a_time(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_on, "MAX_EVENTS_PER_TICK", 2)
    heads, touched = new_events(platform.instance, ("clip_files",), {})
    assert (heads, touched) == ({"clip_files": 0}, set())
    for key in "abc":
        platform.instance.report_runless_asset_event(AssetMaterialization("clip_files", partition=key))
    heads, touched = new_events(platform.instance, ("clip_files",), heads)
    assert touched == {"a", "b"}
    heads, touched = new_events(platform.instance, ("clip_files",), heads)
    assert touched == {"c"}
    assert new_events(platform.instance, ("clip_files",), heads) == (heads, set())
