"""What a run records in Dagster, for one session and for batches, whole and in part."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from dagster import AssetIn, AssetKey, AssetRecordsFilter, Definitions, asset, materialize

from ut_clips_dagster.archive.progress import watched_by
from ut_clips_dagster.assets import clip_assets
from ut_clips_dagster.assets.specs import IO_MANAGER
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.partitions import sessions as sessions_partitions
from ut_clips_dagster.simulator import Operation
from ut_clips_dagster_tests.platform import ASSETS, TestPlatform, materializations


def session_with_clips(platform: TestPlatform, least: int = 1) -> str:
    return next(s for s in platform.sessions() if len(platform.simulator.world.clips(s)) >= least)


def test_a_single_session_is_archived_and_all_four_assets_are_materialized_once(platform: TestPlatform) -> None:
    platform.add_partitions()
    session = session_with_clips(platform)

    run = platform.run(session)

    assert run.success
    for name in ASSETS:
        assert [e.partition for e in materializations(run, name)] == [session]
    platform.assert_files_are_right()
    rows = platform.archive.table().read([session])
    assert list(rows["status"]) == ["STORED"] * len(platform.simulator.world.clips(session))


def test_a_batch_materializes_every_session_and_costs_the_ideal_number_of_requests(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.run(keys[0], keys[-1])

    assert run.success
    assert all(platform.materialized(name) == set(keys) for name in ASSETS)
    assert len(list((platform.root / "clips").rglob("*.mp4"))) == 9
    platform.assert_files_are_right()
    assert platform.simulator.requests.count(Operation.LIST_CLIPS) == len(keys)


def test_a_batch_tells_its_plan_before_it_begins_and_its_cost_when_it_is_done(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[1])
    platform.run(keys[0], keys[1], assets=["clip_list"])

    before = platform.simulator.requests.api_count()
    platform.run(keys[1], keys[4])

    tags = [run.tags for run in platform.instance.get_runs()]  # newest first
    clips = [len(platform.simulator.world.clips(key)) for key in keys]
    guessed = 3 * sum(clips[:2]) / 2  # of the three sessions that were never listed, from the two that were
    assert tags[0]["ut_clips/plan"].endswith(f" for 4 sessions with about {round(guessed)} clips")
    sent = platform.simulator.requests.api_count() - before
    assert tags[0]["ut_clips/cost"].startswith(f"{sent} requests, ")
    assert not {"ut_clips/plan", "ut_clips/cost"} & tags[1].keys(), "a survey costs one request a session"
    unknown = "14 requests, 78 s at 10 a minute, for 2 sessions with about 6 clips"
    assert tags[2]["ut_clips/plan"] == unknown


@pytest.mark.parametrize(("every_s", "told"), [(0.0, "1 of 2 sessions"), (3600.0, "begun")])
def test_a_batch_tells_how_far_it_is_in_its_tag_and_its_log_and_not_too_often(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch, every_s: float, told: str
) -> None:
    keys = platform.add_partitions()
    monkeypatch.setattr("ut_clips_dagster.assets.run_plan.TELL_EVERY_S", every_s)
    seen = []
    with watched_by(lambda _: seen.extend(run.tags["ut_clips/progress"] for run in platform.instance.get_runs())):
        assert platform.run(keys[0], keys[1]).success

    assert any(text.startswith(told) for text in seen)
    (run,) = platform.instance.get_runs()
    logged = [e.user_message for e in platform.instance.all_logs(run.run_id) if "ut_clips/progress" in e.user_message]
    assert (len(logged) > 1) == (every_s == 0), logged


def test_one_bad_session_fails_alone_and_says_why_while_the_others_are_materialized(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    bad = session_with_clips(platform)
    clip = platform.simulator.world.clips(bad)[0].clip_uuid
    platform.simulator.faults.add(f"clip_error:session_id={bad},clip_uuid={clip}")

    run = platform.run(keys[0], keys[-1])

    assert not run.success
    assert platform.failed("clip_files") == platform.failed("clip_urls") == {bad}
    assert platform.failed("clip_list") == platform.failed("clip_metadata") == set()
    failure = next(e for e in run.all_events if e.is_step_failure)
    message = failure.step_failure_data.error.message
    assert "1 of 5 sessions unfinished" in message
    assert bad in message
    assert "answered ERROR after attempt 3 of 3" in message
    row = platform.archive.table().read([bad]).set_index("clip_uuid").loc[clip]
    assert row["status"] == "ERROR"
    observations = [e for e in run.all_events if e.is_asset_observation]
    assert [e.partition for e in observations] == [bad]


def test_a_repeated_batch_keeps_what_is_complete_materialized_and_requests_no_stored_clip(
    platform: TestPlatform,
) -> None:
    keys = platform.add_partitions()
    bad = session_with_clips(platform)
    platform.simulator.faults.add(f"clip_error:session_id={bad}")
    platform.run(keys[0], keys[-1])
    platform.simulator.requests.clear()

    platform.run(keys[0], keys[-1])

    assert platform.failed("clip_files") == {bad}
    asked = {entry.session_id for entry in platform.simulator.requests.entries(Operation.GET_CLIP)}
    assert asked == {bad}


def test_the_latest_event_of_every_partition_carries_its_metadata(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    platform.run(keys[0], keys[-1])

    for key in keys:
        clips = len(platform.simulator.world.clips(key))
        for name, entry in (
            ("clip_list", "clips"),
            ("clip_files", "clips"),
            ("clip_metadata", "dagster/partition_row_count"),
        ):
            records = platform.instance.fetch_materializations(
                AssetRecordsFilter(asset_key=AssetKey(name), asset_partitions=[key]), limit=1
            ).records
            materialization = records[0].asset_materialization
            assert materialization is not None
            assert materialization.metadata[entry].value == clips


def test_a_complete_session_that_cannot_be_listed_again_stays_materialized(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    platform.simulator.faults.add(f"forbidden:operation=list_clips,session_id={keys[1]}")

    run = platform.run(keys[0], keys[-1])

    assert not run.success
    assert all(platform.failed(name) == set() for name in ASSETS)


def test_clip_list_alone_surveys_with_one_request_per_session(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.run(keys[0], keys[-1], assets=["clip_list"])

    assert run.success
    assert platform.materialized("clip_list") == set(keys)
    assert platform.materialized("clip_files") == set()
    assert platform.simulator.requests.api_count() == len(keys)
    assert set(platform.archive.table().read()["status"]) == {"MISSING"}


def test_clip_urls_alone_generates_and_stores_nothing(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.run(keys[0], keys[-1], assets=["clip_urls"])

    assert run.success
    assert platform.materialized("clip_urls") == set(keys)
    assert platform.simulator.requests.count(Operation.MEDIA) == 0
    assert not [path for path in (platform.root / "clips").rglob("*") if path.is_file()]


def test_clip_files_alone_lists_where_nothing_is_listed_and_logs_only_itself(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.run(keys[0], keys[-1], assets=["clip_files"])

    assert run.success
    assert platform.materialized("clip_files") == set(keys)
    assert platform.materialized("clip_list") == set()
    platform.assert_files_are_right()


def test_clip_metadata_alone_rebuilds_rows_without_any_request(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    platform.archive.table().replace(keys[0], platform.archive.table().read([]))
    platform.simulator.requests.clear()

    run = platform.run(keys[0], keys[-1], assets=["clip_metadata"])

    assert run.success
    assert platform.simulator.requests.api_count() == 0
    assert len(platform.archive.table().read()) == 9


def test_clip_metadata_alone_says_what_to_do_when_nothing_is_stored(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.run(keys[0], assets=["clip_metadata"])

    failure = next(e for e in run.all_events if e.is_step_failure)
    assert "Materialize clip_list first" in failure.step_failure_data.error.message


@pytest.mark.parametrize("key", ["not-a-session", "3FA85F64-5717-4562-B3FC-2C963F66AFA6", "../../etc"])
def test_a_partition_key_that_is_no_uuid_fails_before_any_request(platform: TestPlatform, key: str) -> None:
    platform.add_partitions([key])

    run = platform.run(key)

    failure = next(e for e in run.all_events if e.is_step_failure)
    assert "must be the session's UUID in lower case" in failure.step_failure_data.error.message
    assert platform.simulator.requests.api_count() == 0


def test_an_unknown_session_added_by_hand_fails_and_says_so(platform: TestPlatform) -> None:
    key = "00000000-0000-4000-8000-000000000001"
    platform.add_partitions([key])

    run = platform.run(key)

    failure = next(e for e in run.all_events if e.is_step_failure)
    assert "added by hand" in failure.step_failure_data.error.message
    assert all(platform.failed(name) == {key} for name in ASSETS)


def test_a_downstream_asset_loads_the_rows_of_one_partition_or_of_all(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    loaded: dict[str, pd.DataFrame] = {}

    @asset(partitions_def=sessions_partitions, ins={"clips": AssetIn("clip_metadata", input_manager_key=IO_MANAGER)})
    def one_session(clips: pd.DataFrame) -> None:
        loaded["one"] = clips

    @asset(ins={"clips": AssetIn("clip_metadata", input_manager_key=IO_MANAGER)})
    def all_sessions(clips: pd.DataFrame) -> None:
        loaded["all"] = clips

    defs = Definitions.merge(platform.definitions, Definitions(assets=[one_session, all_sessions]))
    resources = dict(platform.definitions.resources or {})
    session = session_with_clips(platform)
    materialize(
        [clip_assets, one_session],
        selection=[one_session],
        partition_key=session,
        instance=platform.instance,
        resources=resources,
        run_config=QUIET,
    )
    materialize(
        [clip_assets, all_sessions],
        selection=[all_sessions],
        instance=platform.instance,
        resources=resources,
        run_config=QUIET,
    )

    assert defs.resolve_all_asset_specs()
    assert set(loaded["one"]["session_id"]) == {session}
    assert len(loaded["all"]) == 9
    assert str(loaded["all"]["size_bytes"].dtype) == "Int64"


@pytest.mark.filterwarnings("ignore:Parameter `backfill_policy` of function `asset` is currently in beta")
def test_a_downstream_asset_of_the_same_batch_run_executes_and_partitions_keep_their_metadata(
    platform: TestPlatform,
) -> None:
    keys = platform.add_partitions()
    seen: list[int] = []

    @asset(
        partitions_def=sessions_partitions,
        ins={"clips": AssetIn("clip_metadata", input_manager_key=IO_MANAGER)},
        backfill_policy=clip_assets.backfill_policy,
    )
    def downstream(clips: pd.DataFrame) -> None:
        seen.append(len(clips))

    result = materialize(
        [clip_assets, downstream],
        instance=platform.instance,
        resources=dict(platform.definitions.resources or {}),
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
        run_config=QUIET,
        raise_on_error=False,
    )

    assert result.success
    assert seen == [9]
    newest = platform.instance.fetch_materializations(
        AssetRecordsFilter(asset_key=AssetKey("clip_files"), asset_partitions=[keys[0]]), limit=1
    ).records[0]
    assert newest.asset_materialization is not None
    assert "listed_at" in newest.asset_materialization.metadata


def test_the_checks_of_a_batch_pass_when_all_is_well_and_name_what_is_not(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.run(keys[0], keys[-1])

    evaluations = {e.check_name: e for e in run.get_asset_check_evaluations()}
    assert {name: e.passed for name, e in evaluations.items()} == {
        "every_listed_clip_stored": True,
        "objects_intact": True,
        "rows_agree_with_documents": True,
    }
    stored = next((platform.root / "clips").rglob("*.mp4"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    again = {e.check_name: e for e in platform.run(keys[0], keys[-1]).get_asset_check_evaluations()}
    assert not again["objects_intact"].passed
    assert stored.name in (again["objects_intact"].description or "")


def test_a_survey_keeps_what_is_known_of_clips_that_could_not_be_had(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    bad = session_with_clips(platform)
    platform.simulator.faults.add(f"clip_error:session_id={bad}")
    platform.run(keys[0], keys[-1])

    platform.run(keys[0], keys[-1], assets=["clip_list"])

    assert set(platform.archive.table().read([bad])["status"]) == {"ERROR"}


@pytest.mark.parametrize("sessions", [1, 2])
def test_with_a_gallery_a_session_is_linked_to_its_page_there(platform: TestPlatform, sessions: int) -> None:
    keys = platform.add_partitions()[:sessions]
    settings = platform.settings.model_copy(update={"gallery_url": "https://clips.example"})
    linked = dataclasses.replace(platform, settings=settings)

    run = linked.run(keys[0], keys[-1] if sessions > 1 else None)

    for name in ("clip_files", "clip_metadata"):
        pages = {each.partition: each.materialization.metadata["gallery"].value for each in materializations(run, name)}
        assert pages == {key: f"https://clips.example/sessions/{key}" for key in keys}
    assert "gallery" not in materializations(run, "clip_list")[0].materialization.metadata
