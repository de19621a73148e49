"""`session_transcripts` and `clip_transcripts` in Dagster: events, requests, and who goes first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from dagster import AssetKey, DagsterRunStatus
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._core.test_utils import create_run_for_test

from ut_clips_dagster.assets.session_transcripts import gives_way
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import JOB, build_definitions, follow_ons
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.simulator import Fault, FaultName, Operation
from ut_clips_dagster_tests.platform import TestPlatform, materializations

TRANSCRIPTS, CUTS = "session_transcripts", "clip_transcripts"


def make(platform: TestPlatform, name: str, keys: Sequence[str]) -> Any:
    span = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
    return platform.definitions.resolve_job_def(f"make_{name}").execute_in_process(
        instance=platform.instance,
        partition_key=keys[0] if len(keys) == 1 else None,
        tags=span if len(keys) > 1 else None,
        raise_on_error=False,
        run_config=QUIET,
    )


def requests(platform: TestPlatform) -> int:
    return platform.simulator.requests.count("get_transcript")


def test_a_batch_logs_each_session_with_numbers_and_tables_and_asks_once(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    silent, broken = keys[1], keys[2]
    platform.simulator.world.set_transcript(silent, None)
    platform.simulator.faults.add(f"comma_timestamps:session_id={broken}")
    platform.run(keys[0], keys[-1])

    fetched, cut = make(platform, TRANSCRIPTS, keys), make(platform, CUTS, keys)

    assert fetched.success
    assert cut.success
    assert platform.materialized(TRANSCRIPTS) == platform.materialized(CUTS) == set(keys)
    assert requests(platform) == len(keys)
    metadata = {
        e.partition: e.step_materialization_data.materialization.metadata
        for e in materializations(fetched, TRANSCRIPTS)
    }
    assert metadata[silent]["status"].value == "ABSENT"
    assert "not one cue" in str(metadata[broken]["problem"].value)
    assert metadata[keys[0]]["speakers"].value.records[0].data["cues"] > 0
    (check,) = fetched.get_asset_check_evaluations()
    assert (check.passed, check.check_name, broken in str(check.description)) == (False, "transcript_readable", True)
    clips = {
        e.partition: e.step_materialization_data.materialization.metadata["clips"].value
        for e in materializations(cut, CUTS)
    }
    assert clips == {k: 0 if k in (silent, broken) else len(platform.simulator.world.clips(k)) for k in keys}

    make(platform, TRANSCRIPTS, keys)
    assert requests(platform) == len(keys)
    assert all(
        f.lacking(platform.archive, None) == set() for f in follow_ons(platform.settings) if f.name != "clip_media"
    )


def test_clips_come_first(platform: TestPlatform) -> None:
    """While a run archives, nothing is asked, nothing fails, and the sessions stay to be made."""
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    archiving = create_run_for_test(platform.instance, job_name=JOB, status=DagsterRunStatus.STARTED)

    run = make(platform, TRANSCRIPTS, keys)

    assert run.success
    assert requests(platform) == 0
    assert platform.materialized(TRANSCRIPTS) == set()
    (check,) = run.get_asset_check_evaluations()
    assert check.description == f"No problem is known of any session.\n0 of {len(keys)} sessions looked at in this run."
    platform.instance.report_run_canceled(archiving)
    assert make(platform, TRANSCRIPTS, keys[:1]).success
    assert platform.materialized(TRANSCRIPTS) == {keys[0]}


def test_a_run_of_the_sensor_waits_for_a_gap_between_archiving_runs(platform: TestPlatform) -> None:
    archiving = create_run_for_test(platform.instance, job_name=JOB, status=DagsterRunStatus.STARTED)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            platform.instance.report_run_canceled(archiving)

    assert not gives_way(platform.instance, "this", 10.0, clock=lambda: sum(slept), sleep=sleep)
    assert len(slept) == 3
    create_run_for_test(platform.instance, job_name=JOB, status=DagsterRunStatus.STARTED)
    assert gives_way(platform.instance, "this", 10.0, clock=lambda: sum(slept), sleep=sleep)
    assert 9 <= sum(slept[3:]) <= 11


def test_a_session_that_fails_fails_alone_and_touches_no_clip(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    platform.simulator.faults.add(f"forbidden:operation=get_transcript,session_id={keys[0]}")

    run = make(platform, TRANSCRIPTS, keys)

    assert not run.success
    assert platform.failed(TRANSCRIPTS) == {keys[0]}
    assert platform.materialized(TRANSCRIPTS) == set(keys[1:])
    assert platform.failed("clip_files") == set()


def test_clips_of_several_videos_are_cut_with_a_warning(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    several = next(k for k in keys if len(platform.simulator.world.clips(k)) > 1)
    other = json.dumps("5a1e0d8c-0c0f-4a53-9c53-0f3f6f6b7a11")
    where = "clips.0.videoUuid"
    replaced = Fault(name=FaultName.REPLACED, operation=Operation.LIST_CLIPS, at=where, value=other, session_id=several)
    platform.simulator.faults.add(replaced)
    platform.run(keys[0], keys[-1])
    make(platform, TRANSCRIPTS, keys)

    for each in ([several], [key for key in keys if key != several][:1]):  # a run over others does not hide it
        run = make(platform, CUTS, each)
        (check,) = run.get_asset_check_evaluations()
        assert (run.success, check.passed) == (True, False)
        assert f"Session {several}: Its clips are cut from 2 videos" in str(check.description)


def test_switched_off_there_is_neither_asset_nor_sensor(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {key.to_user_string() for key in build_definitions(platform.settings).resolve_all_asset_keys()}
    assert {TRANSCRIPTS, CUTS} <= names
    monkeypatch.setenv("UT_CLIPS_TRANSCRIPTS", "off")
    off = build_definitions(load_settings())
    assert not {AssetKey(TRANSCRIPTS), AssetKey(CUTS)} & set(off.resolve_all_asset_keys())
    assert not [s.name for s in off.sensors or () if "transcripts" in s.name]
