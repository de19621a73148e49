"""The job of `late_clips`: one run for any sessions, and one event for a session of which nothing has changed."""

from __future__ import annotations

from collections import Counter

from dagster import AssetKey

from ut_clips_dagster.simulator import Operation
from ut_clips_dagster_tests.platform import ASSETS, TestPlatform, materializations


def test_unchanged_sessions_are_observed_and_a_changed_one_is_materialized(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    platform.simulator.world.add_clip(keys[2], name="Cut later")
    platform.simulator.requests.clear()

    run = platform.relist([keys[4], keys[0], keys[2]])

    assert run.success
    assert len(platform.simulator.requests.entries(Operation.LIST_CLIPS)) == 3
    logged = {name: [e.partition for e in materializations(run, name)] for name in ASSETS}
    assert logged == {name: [keys[2]] for name in ASSETS}
    observed = Counter(
        record.partition_key for record in platform.instance.fetch_observations(AssetKey("clip_list"), 100).records
    )
    assert observed == {keys[0]: 1, keys[4]: 1}
    assert "Cut later" in set(platform.archive.table().read([keys[2]])["clip_name"])
    platform.assert_files_are_right()


def test_a_renamed_clip_is_a_change(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    clip = platform.simulator.world.clips(keys[0])[0]
    platform.simulator.world.rename_clip(keys[0], clip.clip_uuid, "Another name")

    run = platform.relist([keys[0]])

    assert [e.partition for e in materializations(run, "clip_list")] == [keys[0]]


def test_a_session_that_fails_says_why_on_its_partition_and_stays_shown_as_it_was(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    clip = platform.simulator.world.add_clip(keys[1])
    platform.simulator.faults.add(f"clip_error:clip_uuid={clip.clip_uuid}")

    run = platform.relist([keys[1], keys[3]])

    assert not run.success
    assert platform.failed("clip_files") == set()
    (record,) = platform.instance.fetch_observations(AssetKey("clip_files"), 10).records
    assert record.partition_key == keys[1]
    assert set(platform.archive.table().unfinished()["session_id"]) == {keys[1]}


def test_what_is_no_session_is_refused_and_the_others_are_listed(platform: TestPlatform) -> None:
    keys = platform.add_partitions()

    run = platform.relist(["not-a-uuid", keys[0]])

    assert not run.success
    assert platform.materialized("clip_files") == {keys[0]}
