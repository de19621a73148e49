"""Checks that a person executes alone in the UI look at all sessions, for a bounded time, and say how far they came."""

from __future__ import annotations

from typing import Any

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetKey

from ut_clips_dagster.assets.checks import rotated
from ut_clips_dagster_tests.platform import TestPlatform

KEYS = {
    AssetCheckKey(AssetKey("clip_files"), "every_listed_clip_stored"),
    AssetCheckKey(AssetKey("clip_files"), "objects_intact"),
    AssetCheckKey(AssetKey("clip_metadata"), "rows_agree_with_documents"),
}


def execute(platform: TestPlatform, partition_key: str | None = None) -> dict[str, AssetCheckEvaluation]:
    """As the UI's "Execute": the implicit job, a selection of checks, no asset, no partition."""
    job = platform.definitions.resolve_implicit_global_asset_job_def()
    run: Any = job.get_subset(asset_selection=set(), asset_check_selection=KEYS).execute_in_process(
        instance=platform.instance,
        partition_key=partition_key,
        raise_on_error=True,
    )
    assert run.success
    return {each.check_name: each for each in run.get_asset_check_evaluations()}


def figures(evaluation: AssetCheckEvaluation) -> tuple[bool, object, object]:
    metadata = evaluation.metadata
    return evaluation.passed, metadata["sessions"].value, metadata["sessions_left_out"].value


def test_without_a_partition_all_sessions_are_checked(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    platform.add_partitions(["typed by hand"])
    assert [figures(each) for each in execute(platform).values()] == [(True, 5, 0)] * 3

    lost = next((platform.root / "clips").rglob("*.mp4"))
    lost.unlink()
    found = execute(platform)

    assert {name: each.passed for name, each in found.items()} == {
        "every_listed_clip_stored": True,
        "objects_intact": False,
        "rows_agree_with_documents": True,
    }
    assert f"Session {lost.parent.name}" in str(found["objects_intact"].description)


def test_of_a_partition_only_that_is_checked(platform: TestPlatform) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])

    assert [figures(each) for each in execute(platform, keys[1]).values()] == [(True, 1, 0)] * 3


def test_when_time_is_up_the_result_says_what_was_left_out(platform: TestPlatform, monkeypatch: Any) -> None:
    keys = platform.add_partitions()
    platform.run(keys[0], keys[-1])
    monkeypatch.setattr("ut_clips_dagster.assets.clips.MAX_CHECK_S", 0.0)

    found = execute(platform)

    assert [figures(each) for each in found.values()] == [(True, 0, 5)] * 3
    assert "5 more were left out, as time was up" in str(found["objects_intact"].description)


def test_each_time_it_begins_elsewhere_so_that_all_have_their_turn() -> None:
    assert rotated(["a", "b", "c"], lambda number: number - 1) == ["c", "a", "b"]
    assert rotated([]) == []
    assert {rotated(["a", "b", "c"])[0] for _ in range(100)} == {"a", "b", "c"}
