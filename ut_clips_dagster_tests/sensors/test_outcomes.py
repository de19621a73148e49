"""A tick of `new_sessions` that cannot ask: skipped while it may pass, failed when a person has to know."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterError, DagsterRunStatus

from ut_clips_dagster.archive import discovery
from ut_clips_dagster.archive.discovery import Discoveries
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import JOB, follow_ons
from ut_clips_dagster.known_sessions import CLIP_FILES
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.sensors import new_sessions
from ut_clips_dagster.sensors.new_sessions import CrawlState, Cursor
from ut_clips_dagster.sensors.outcomes import TickError
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.simulator import DEMO_TEST_ID, Operation
from ut_clips_dagster_tests.platform import TestPlatform
from ut_clips_dagster_tests.sensors.ticks import skip_reason, tick
from ut_clips_dagster_tests.waiting import without_waiting

UNKNOWN_TEST = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def trying_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


def with_tests(platform: TestPlatform, *test_ids: str) -> TestPlatform:
    settings = platform.settings.model_copy(update={"test_ids": test_ids})
    return TestPlatform(platform.simulator, platform.instance, settings, platform.root)


def later(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """The present moment for the sensor and its documents."""
    at = now_utc() + by
    monkeypatch.setattr(new_sessions, "now_utc", lambda: at)
    monkeypatch.setattr(Discoveries.__init__, "__defaults__", (lambda: at,))


def failure(platform: TestPlatform) -> str:
    with pytest.raises(TickError) as caught:
        tick(platform, "new_sessions")
    return str(caught.value)


@pytest.mark.parametrize("status", ["unauthorized", "forbidden", "not_found", "bad_request"])
def test_lost_access_to_a_test_fails_the_tick_at_once(platform: TestPlatform, status: str) -> None:
    platform.simulator.faults.add(f"{status}:operation=list_sessions")

    message = failure(platform)

    assert message.startswith(f"Test {DEMO_TEST_ID}: The Results API answered 40")
    assert "check-settings" in message


def test_a_wrong_secret_fails_the_tick_at_once_and_is_not_told(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERTESTING_CLIENT_SECRET", "wr0ng-s3cret")

    message = failure(platform)

    assert "gave no token" in message
    assert "USERTESTING_CLIENT_SECRET" in message
    assert "wr0ng-s3cret" not in message


def test_the_message_of_a_failed_tick_comes_before_any_stack_trace(platform: TestPlatform) -> None:
    """Dagster passes its own errors on as they are; all others it wraps in one that does not say why."""
    platform.simulator.faults.add("forbidden:operation=list_sessions")

    with pytest.raises(DagsterError) as caught:
        tick(platform, "new_sessions")

    assert caught.value.__cause__ is None


def test_a_failed_test_keeps_no_turn_from_the_others_though_a_failed_tick_keeps_no_cursor(
    platform: TestPlatform,
) -> None:
    both = with_tests(platform, UNKNOWN_TEST, DEMO_TEST_ID)

    message = failure(both)
    second = tick(both, "new_sessions", cursor=None)

    assert f"404 for the sessions of test {UNKNOWN_TEST}" in message
    assert "Correct this test ID in USERTESTING_TEST_IDS, or remove it there." in message
    assert len(second.asset_events or ()) == 12
    assert UNKNOWN_TEST in failure(both), "its turn comes again"


def test_a_test_whose_page_has_more_goes_first_but_not_once_it_fails(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_sessions, "MOST_NEW_PER_TICK", ((1_000, 5),))
    both = with_tests(platform, DEMO_TEST_ID, UNKNOWN_TEST)
    first = tick(both, "new_sessions")
    platform.simulator.faults.add("server_error:operation=list_sessions,count=5")

    second = tick(both, "new_sessions", first.cursor)
    assert f"Test {DEMO_TEST_ID}" in skip_reason(second)
    with pytest.raises(TickError, match=UNKNOWN_TEST):
        tick(both, "new_sessions", second.cursor)
    third = tick(both, "new_sessions", second.cursor)
    assert len(third.asset_events or ()) == 5


def test_an_outage_is_skipped_with_its_cause_and_fails_once_nothing_was_read_for_an_hour(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = tick(platform, "new_sessions").cursor
    platform.simulator.faults.add("server_error:operation=list_sessions")

    for minutes in (5, 59):
        later(monkeypatch, timedelta(minutes=minutes))
        skipped = tick(platform, "new_sessions", cursor)
        assert "answered 500" in skip_reason(skipped)
        assert skipped.cursor == cursor
    later(monkeypatch, timedelta(minutes=64))
    assert "could not be read for 64 min. The last reason: The Results API answered 500" in failure(platform)

    platform.simulator.faults.clear()
    assert "no new session" in skip_reason(tick(platform, "new_sessions", cursor))
    (document,) = platform.archive.discoveries().read_all().values()
    assert (document.failing_since, document.kind, document.sessions) == (None, None, 12)


def test_when_a_page_deep_in_the_list_fails_the_newest_is_read_next_and_it_is_told(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it has failed; an outage is one once the newest cannot be read either."""
    listed = ResultsApi.list_sessions
    monkeypatch.setattr(ResultsApi, "list_sessions", lambda *args, **kwargs: listed(*args, **kwargs, limit=5))
    monkeypatch.setattr(new_sessions, "OVERLAP", 1)
    cursor = tick(platform, "new_sessions").cursor
    for minutes, found in ((65, 0), (135, 1)):
        later(monkeypatch, timedelta(minutes=minutes))
        platform.simulator.faults.add("server_error:operation=list_sessions,count=5")
        failed = tick(platform, "new_sessions", cursor)
        assert "answered 500" in skip_reason(failed)
        assert "from number 4; next the newest" in skip_reason(failed)
        platform.simulator.world.add_session(clips=1)
        later(monkeypatch, timedelta(minutes=minutes + 5))
        newest = tick(platform, "new_sessions", failed.cursor)
        assert len(newest.asset_events or ()) == 1
        (document,) = platform.archive.discoveries().read_all().values()
        assert (document.failing_since, document.malformed) == (None, found)
        cursor = newest.cursor
    told = skip_reason(tick(platform, "new_sessions", cursor))
    assert "no new session among 5 from number 0. Those from number 4 on are unread, and asked for again" in told

    platform.simulator.faults.add("forbidden:operation=list_sessions,count=1")
    deep = Cursor(tests={DEMO_TEST_ID: CrawlState(offset=4)}).model_dump_json()
    with pytest.raises(TickError, match="answered 403"):
        tick(platform, "new_sessions", deep)


def test_access_that_was_lost_stays_lost_until_a_request_succeeds(platform: TestPlatform) -> None:
    """Else an outage would look, for an hour, as if access were back."""
    platform.simulator.faults.add("forbidden:operation=list_sessions,count=1")
    assert "answered 403" in failure(platform)
    platform.simulator.faults.add("server_error:operation=list_sessions,count=5")
    assert "answered 403" in failure(platform)

    assert len(tick(platform, "new_sessions").asset_events or ()) == 12


def test_a_single_failed_request_is_no_outage_however_seldom_a_test_is_asked(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(platform, "new_sessions")
    platform.simulator.faults.add("reset:operation=list_sessions")
    later(monkeypatch, timedelta(hours=5))

    assert "cannot be reached" in skip_reason(tick(platform, "new_sessions"))
    assert "could not be read for 5.0 h" in failure(platform)


def test_a_used_up_budget_says_who_used_it_and_skips_at_once(platform: TestPlatform) -> None:
    platform.simulator.faults.add("rate_limited:operation=list_sessions")
    others = tick(platform, "new_sessions")
    job = platform.definitions.resolve_job_def(JOB)
    platform.instance.create_run_for_job(job, status=DagsterRunStatus.STARTED)
    ours = tick(platform, "new_sessions")

    assert "used up by another client of this account" in skip_reason(others)
    assert "used up by our own running archives" in skip_reason(ours)
    assert platform.simulator.requests.count(Operation.LIST_SESSIONS) == 2


def test_a_budget_that_is_never_free_fails_after_an_hour(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.simulator.faults.add("rate_limited:operation=list_sessions")
    tick(platform, "new_sessions")
    later(monkeypatch, timedelta(minutes=61))

    message = failure(platform)

    assert "could not be read for 61 min, and never before" in message
    assert "another client of this account" in message


def test_missing_settings_are_what_is_read_first(platform: TestPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USERTESTING_CLIENT_SECRET")

    with pytest.raises(DagsterError) as caught:
        tick(platform, "new_sessions")

    assert str(caught.value).startswith("These settings are missing or wrong")


def sensors_of_the_archive(platform: TestPlatform) -> list[str]:
    """All that ask the archive, but the one that tells of it."""
    sensors = platform.definitions.get_repository_def().sensor_defs
    return [s.name for s in sensors if "archive" in s.required_resource_keys and s.name != "health_alerts"]


@pytest.fixture
def archived(platform: TestPlatform, monkeypatch: pytest.MonkeyPatch) -> TestPlatform:
    """With one session, and every sensor that there may be."""
    keys = platform.add_partitions()
    assert platform.run(keys[0]).success
    monkeypatch.setenv("UT_CLIPS_BIGQUERY_DATASET", "project.dataset")
    monkeypatch.setenv("UT_CLIPS_ALERT_URLS", "json://127.0.0.1")
    return TestPlatform(platform.simulator, platform.instance, load_settings(), platform.root)


def test_every_sensor_and_run_fails_when_the_archive_it_knows_of_is_gone(archived: TestPlatform) -> None:
    """A disk that is not mounted is an empty directory: nothing may be found anew or stored below it."""
    keys, requests = archived.sessions(), archived.simulator.requests
    shutil.move(archived.root, f"{archived.root}.elsewhere")
    archived.root.mkdir()
    requests.clear()

    names = sensors_of_the_archive(archived)
    assert len(names) == 3 + 3 + 4
    for name in names:
        with pytest.raises(TickError, match="Is it mounted"):
            tick(archived, name)
    runs = [
        archived.run(keys[0]),
        archived.relist(keys[:1]),
        *(
            archived.definitions.resolve_job_def(follow_on.job_name).execute_in_process(
                instance=archived.instance, partition_key=keys[0], raise_on_error=False, run_config=QUIET
            )
            for follow_on in follow_ons(archived.settings)
        ),
    ]

    for run in runs:
        (failed,) = (event for event in run.all_events if event.is_failure)
        assert "Is it mounted" in failed.job_failure_data.error.message
    observed = archived.instance.fetch_observations(AssetKey(CLIP_FILES), 1).records
    assert observed == [], "they say nothing of the sessions, so none of these uses up a retry"
    assert not requests.entries()
    assert list(archived.root.iterdir()) == []


def test_every_sensor_fails_when_the_table_cannot_be_read(archived: TestPlatform) -> None:
    for log in (archived.root / "clip_metadata" / "_delta_log").iterdir():
        log.write_text("nonsense") if log.is_file() else None

    for name in sensors_of_the_archive(archived):
        with pytest.raises(TickError, match="Cannot read the table"):
            tick(archived, name)


def test_the_sensor_of_old_runs_fails_with_the_message_first(platform: TestPlatform) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platform.instance, "_event_storage", object())
        with pytest.raises(TickError, match="No way to prune events"):
            tick(platform, "old_runs")


def test_a_damaged_discovery_document_is_written_anew(platform: TestPlatform) -> None:
    tick(platform, "new_sessions")
    path = platform.root / discovery.DISCOVERY / f"{DEMO_TEST_ID}.json"
    Path(path).write_text("{")

    tick(platform, "new_sessions")

    assert platform.archive.discoveries().read(DEMO_TEST_ID) is not None
    assert len(platform.instance.get_dynamic_partitions(SESSIONS)) == 12
