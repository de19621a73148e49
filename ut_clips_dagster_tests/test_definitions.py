"""What the code location offers, to the letter of what others rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dagster import DefaultSensorStatus, Definitions, in_process_executor
from pydantic import SecretStr

import ut_clips_dagster
from ut_clips_dagster.account import Account
from ut_clips_dagster.assets import clip_assets
from ut_clips_dagster.definitions import build_definitions, defs, follow_ons
from ut_clips_dagster.sensor_names import sensors_of
from ut_clips_dagster.settings import placeholder_settings

ARCHIVE = {"clip_list", "clip_urls", "clip_files", "clip_metadata"}
FOLLOW_ONS = {"clip_media"}
ASSETS = {"usertesting_sessions", *ARCHIVE, *FOLLOW_ONS}


def test_all_assets_are_partitioned_by_the_dynamic_partitions_sessions() -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}

    assert specs.keys() == ASSETS
    assert {getattr(spec.partitions_def, "name", None) for spec in specs.values()} == {"sessions"}
    assert {spec.group_name for spec in specs.values()} == {"usertesting_clips"}
    assert all(spec.owners and spec.kinds and spec.description for spec in specs.values())


def test_all_but_the_external_asset_may_be_left_out_of_a_run() -> None:
    assert {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs() if spec.skippable} == (
        ASSETS - {"usertesting_sessions"}
    )


def test_backfills_run_in_batches_of_ten_in_the_pool_of_the_api() -> None:
    assert clip_assets.backfill_policy is not None
    assert clip_assets.backfill_policy.max_partitions_per_run == 10
    assert clip_assets.op.pool == "usertesting_api"


def test_a_code_server_can_load_everything() -> None:
    """Dagster looks for names that are taken twice only when all is loaded, as a code server does."""
    Definitions.validate_loadable(defs)  # raises what it finds
    assert {job.name for job in defs.resolve_all_job_defs()} > {"archive_clips", "relist_clips"}


def test_runs_are_executed_in_process() -> None:
    """A step in a process of its own outlives its killed run, and overlaps the next one."""
    assert defs.executor is in_process_executor
    assert defs.resolve_job_def("archive_clips").executor_def is in_process_executor


def test_all_sensors_are_on_by_default_and_new_sessions_ticks_as_often_as_it_is_told() -> None:
    settings = placeholder_settings().model_copy(update={"discovery_interval_s": 17})
    sensors = {sensor.name: sensor for sensor in build_definitions(settings).sensors or ()}

    follow = {f"follow_{name}" for name in FOLLOW_ONS}
    assert sensors.keys() == {"new_sessions", "unfinished_sessions", "late_clips", "old_runs", *follow}
    assert {getattr(s, "default_status", None) for s in sensors.values()} == {DefaultSensorStatus.RUNNING}
    assert getattr(sensors["new_sessions"], "minimum_interval_seconds", None) == 17


@pytest.mark.parametrize("account", ["", "acme"])
@pytest.mark.parametrize("transcripts", [True, False])
@pytest.mark.parametrize(("dataset", "urls"), [("", ()), ("project.dataset", (SecretStr("json://127.0.0.1"),))])
def test_health_knows_every_sensor_and_how_often_it_ticks(
    account: str, transcripts: bool, dataset: str, urls: tuple[SecretStr, ...]
) -> None:
    changes = {"account": account, "transcripts": transcripts, "bigquery_dataset": dataset, "alert_urls": urls}
    settings = placeholder_settings().model_copy(update={**changes, "discovery_interval_s": 17})

    sensors = {s.name: getattr(s, "minimum_interval_seconds", 0) for s in build_definitions(settings).sensors or ()}

    named = Account.of(settings).named
    ours = {named(name) if name != "old_runs" else name: s for name, s in sensors_of(settings).items()}
    assert sensors == ours


def test_what_follows_on_the_clips_has_jobs_and_a_pool_of_its_own_and_never_more_than_the_run_slots_allow() -> None:
    instance = yaml.safe_load(Path(ut_clips_dagster.__file__).with_name("dagster.yaml").read_text())["concurrency"]
    for follow_on in follow_ons(placeholder_settings()):
        assert follow_on.asset.op.pool == "follow_on"
        assert follow_on.asset.backfill_policy is not None
        job = defs.resolve_job_def(f"make_{follow_on.name}")
        assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {follow_on.name}
        assert job.tags["ut_clips/follow_on"] == follow_on.name
        assert job.executor_def is in_process_executor
    archiving = {
        key.to_user_string() for key in defs.resolve_job_def("archive_clips").asset_layer.executable_asset_keys
    }
    assert archiving == ARCHIVE
    limits = {limit["key"]: limit["limit"] for limit in instance["runs"]["tag_concurrency_limits"]}
    assert limits == {"ut_clips/batch": 1, "ut_clips/follow_on": 1}
    assert len(FOLLOW_ONS) + 2 < instance["runs"]["max_concurrent_runs"]
