"""`bigquery/…` in Dagster: off until a dataset is named, then by itself after its tables changed."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import AssetKey, Definitions, build_sensor_context
from google.cloud import bigquery

from ut_clips_dagster.assets.bigquery import BATCH, in_batches
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import build_definitions, follow_ons
from ut_clips_dagster.errors import WarehouseError
from ut_clips_dagster.settings import placeholder_settings
from ut_clips_dagster.warehouse.record import Published
from ut_clips_dagster_tests.platform import TestPlatform
from ut_clips_dagster_tests.warehouse.fixtures import (
    bigquery_environment,
    bigquery_url,
    client,
    dataset_name,
    every_test,
    with_installation,
)

__all__ = ["bigquery_environment", "bigquery_url", "client", "dataset_name"]
NAMES = {"bigquery/clip_metadata", "bigquery/clip_media", "bigquery/clip_transcripts", "bigquery/clips"}


def test_nothing_is_published_until_a_dataset_is_named() -> None:
    settings = placeholder_settings().model_copy(update={"transcripts": True})
    keys = {spec.key.to_user_string() for spec in build_definitions(settings).resolve_all_asset_specs()}
    assert not any(key.startswith("bigquery") for key in keys)

    definitions = build_definitions(settings.model_copy(update={"bigquery_dataset": "project.dataset"}))
    Definitions.validate_loadable(definitions)
    specs = {s.key.to_user_string(): s for s in definitions.resolve_all_asset_specs() if s.key.path[0] == "bigquery"}
    assert specs.keys() == NAMES
    assert {getattr(spec.partitions_def, "name", None) for spec in specs.values()} == {"sessions"}
    jobs = {name: definitions.resolve_job_def(f"make_{name.replace('/', '_')}") for name in NAMES}
    assert {job.tags["ut_clips/follow_on"] for job in jobs.values()} == {"bigquery"}
    assert {f"follow_{name.replace('/', '_')}" for name in NAMES} < {s.name for s in definitions.sensors or ()}


def test_without_transcripts_their_table_is_not_published() -> None:
    settings = placeholder_settings().model_copy(update={"bigquery_dataset": "project.dataset", "transcripts": False})
    assert {f.name for f in follow_ons(settings)} & NAMES == NAMES - {"bigquery/clip_transcripts"}


def test_sessions_are_published_a_batch_at_a_time_and_a_failed_batch_is_tried_once() -> None:
    keys = ["not a session", *(f"00000000-0000-0000-0000-{number:012}" for number in range(BATCH + 2))]
    asked: list[list[str]] = []

    def publish(session_ids: Any) -> dict[str, Published]:
        asked.append(list(session_ids))
        if len(asked) == 1:
            raise WarehouseError("no")
        return dict.fromkeys(session_ids, Published("digest", 1))

    by_session = in_batches(keys, publish)
    for key in keys[1 : BATCH + 1]:
        with pytest.raises(WarehouseError, match="no"):
            by_session(key)
    assert [by_session(key).rows for key in keys[BATCH + 1 :]] == [1, 1]
    assert asked == [keys[1 : BATCH + 1], keys[BATCH + 1 :]]


@every_test
@with_installation
def test_after_an_archiving_run_the_sensor_asks_for_its_sessions_and_their_rows_are_published(
    platform: TestPlatform, client: bigquery.Client, dataset_name: str
) -> None:
    settings = platform.settings.model_copy(update={"bigquery_dataset": dataset_name})
    platform = TestPlatform(platform.simulator, platform.instance, settings, platform.root)
    keys = platform.add_partitions()
    assert platform.run(keys[0], keys[-1]).success

    definitions = platform.definitions
    wanted = {key for key in keys if platform.simulator.world.clips(key)}
    sensor = next(s for s in definitions.sensors or () if s.name == "follow_bigquery_clip_metadata")
    with build_sensor_context(
        platform.instance, definitions=definitions, resources={"archive": platform.archive}
    ) as context:
        assert sensor.evaluate_tick(context).run_requests
    for name in ("clip_metadata", "clip_media", "clip_transcripts", "clips"):
        span = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        run = definitions.resolve_job_def(f"make_bigquery_{name}").execute_in_process(
            instance=platform.instance, tags=span, raise_on_error=False, run_config=QUIET
        )
        assert run.success
        assert set(platform.instance.get_materialized_partitions(AssetKey(["bigquery", name]))) == set(keys)
    shown = client.query(f"SELECT session_id, clip_uuid FROM `{dataset_name}.clips`").result()
    rows = platform.archive.table().read()
    assert sorted(row.values() for row in shown) == sorted(zip(rows["session_id"], rows["clip_uuid"], strict=True))
    assert set(rows["session_id"]) == wanted
    assert [f.lacking(platform.archive, None) for f in follow_ons(settings) if f.name in NAMES] == [set()] * 4
