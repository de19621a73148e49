"""`clip_media` in Dagster: what a person sees, what fails, and that the four are not touched by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from dagster import AssetCheckSeverity, AssetKey, TableMetadataValue

from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster_tests.platform import TestPlatform, materializations


def make(platform: TestPlatform, keys: Sequence[str]) -> Any:
    span = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    return platform.definitions.resolve_job_def("make_clip_media").execute_in_process(
        instance=platform.instance,
        partition_key=keys[0] if len(keys) == 1 else None,
        tags=None if len(keys) == 1 else span,
        raise_on_error=False,
        run_config=QUIET,
    )


def shown(run: Any, session_id: str) -> dict[str, Any]:
    events = [e for e in materializations(run, "clip_media") if e.partition == session_id]
    assert len(events) == 1
    return {name: value.value for name, value in events[0].materialization.metadata.items()}


def checks(run: Any) -> list[Any]:
    return [e.asset_check_evaluation_data for e in run.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]


@pytest.fixture
def archived(platform: TestPlatform) -> TestPlatform:
    keys = platform.add_partitions()
    assert platform.run(keys[0], keys[-1]).success
    return platform


def test_a_batch_logs_each_session_once_with_numbers_and_a_table_and_asks_for_nothing(archived: TestPlatform) -> None:
    keys, world = archived.sessions(), archived.simulator.world
    archived.simulator.requests.clear()
    run = make(archived, keys)
    assert run.success
    assert archived.simulator.requests.count() == 0
    for key in keys:
        clips, metadata = world.clips(key), shown(run, key)
        assert metadata["clips"] == metadata["dagster/partition_row_count"] == len(clips)
        seconds = sum((c.time_end_ms - c.time_start_ms) / 1000 for c in clips)
        assert metadata["minutes"] == pytest.approx(seconds / 60, abs=0.02)
        assert metadata["problems"] == 0
        assert "contact_sheet" not in metadata
    (check,) = checks(run)
    assert (check.check_name, check.passed) == ("media_as_listed", True)


def test_one_session_shows_its_clips_as_a_table(archived: TestPlatform) -> None:
    key = next(k for k in archived.sessions() if archived.simulator.world.clips(k))
    run = make(archived, [key])
    assert run.success
    (event,) = materializations(run, "clip_media")
    table = event.materialization.metadata["clip_table"]
    assert isinstance(table, TableMetadataValue)
    assert {r.data["clip"] for r in table.records} == {c.name for c in archived.simulator.world.clips(key)}
    assert {r.data["picture"] for r in table.records} == {"640 x 360, 2.0/s"}


def test_with_a_gallery_a_session_shows_one_contact_sheet_by_its_address(archived: TestPlatform) -> None:
    key = next(k for k in archived.sessions() if archived.simulator.world.clips(k))
    settings = archived.settings.model_copy(update={"gallery_url": "http://127.0.0.1:8091"})
    platform = TestPlatform(archived.simulator, archived.instance, settings, archived.root)
    metadata = shown(make(platform, [key]), key)
    assert metadata["contact_sheet"] == f"![clips of the session](http://127.0.0.1:8091/sheets/{key}.jpg)"
    assert not any("data:" in str(value) for value in metadata.values())


def test_a_problem_is_shown_and_the_clip_stays_stored(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    key = next(k for k in keys if platform.simulator.world.clips(k))
    clip = platform.simulator.world.clips(key)[0]
    platform.simulator.faults.add(f"wrong_length:clip_uuid={clip.clip_uuid}")
    assert platform.run(keys[0], keys[-1]).success

    run = make(platform, keys)
    assert run.success
    metadata = shown(run, key)
    assert metadata["problems"] == 1
    assert f"Clip {clip.clip_uuid}: The file is " in metadata["problem"]
    (check,) = checks(run)
    assert (check.passed, check.severity) == (False, AssetCheckSeverity.WARN)
    assert f"Session {key}: Clip {clip.clip_uuid}" in check.description
    others = [k for k in keys if k != key]
    (check,) = checks(make(platform, others[:1]))
    assert not check.passed, "a run over another session hides it"
    rows = platform.archive.table().read([key])
    assert set(rows["status"]) == {"STORED"}
    problems = platform.archive.media_table().problems()
    assert [(row.session_id, row.clip_uuid) for row in problems.itertuples()] == [(key, clip.clip_uuid)]


def test_a_session_that_fails_stops_no_other_and_changes_nothing_of_the_four(archived: TestPlatform) -> None:
    keys = archived.sessions()
    bad = next(k for k in keys if archived.simulator.world.clips(k))
    document = archived.root / "sessions" / bad / "clip_media.json"
    document.write_text("damaged")
    before = {name: archived.materialized(name) for name in ("clip_list", "clip_urls", "clip_files", "clip_metadata")}

    run = make(archived, keys)
    assert not run.success
    assert archived.materialized("clip_media") == set(keys) - {bad}
    assert archived.failed("clip_media") == {bad}
    (check,) = checks(run)
    assert check.description == (
        f"No problem is known of any session.\n{len(keys) - 1} of {len(keys)} sessions looked at in this run."
    )
    (failure,) = [e.step_failure_data for e in run.all_events if e.is_step_failure]
    assert f"Session {bad}: sessions/{bad}/clip_media.json" in failure.user_failure_data.description
    assert f"ut-clips repair --session {bad}" in failure.user_failure_data.description
    for name, keys_before in before.items():
        assert archived.materialized(name) == keys_before
        assert archived.failed(name) == set()


def test_a_partition_that_is_no_session_or_is_not_listed_is_told(platform: TestPlatform) -> None:
    platform.add_partitions(["not a session", platform.sessions()[0]])
    run = make(platform, ["not a session", platform.sessions()[0]])
    assert archived_events(run) == {platform.sessions()[0]: 0}
    assert platform.failed("clip_media") == {"not a session"}


def archived_events(run: Any) -> dict[str, int]:
    return {e.partition: e.materialization.metadata["clips"].value for e in materializations(run, "clip_media")}


def test_selected_together_clips_are_archived_and_then_looked_at_in_one_run(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    assets = [AssetKey(n) for n in ("clip_list", "clip_urls", "clip_files", "clip_metadata", "clip_media")]
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    job = platform.definitions.resolve_implicit_job_def_def_for_assets(assets)
    assert job is not None
    run = job.execute_in_process(
        instance=platform.instance,
        tags=tags,
        asset_selection=assets,
        resources=None,
        run_config=QUIET,
    )
    assert run.success
    assert platform.materialized("clip_media") == platform.materialized("clip_files") == set(keys)
