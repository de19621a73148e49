"""Pruning takes old runs out of Dagster's storage, and nobody who asks about a partition sees a difference."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, DagsterRunStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from typer.testing import CliRunner

from ut_clips_dagster import pruning
from ut_clips_dagster.cli.main import app
from ut_clips_dagster.definitions import JOB
from ut_clips_dagster.known_sessions import RELIST
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.pruning import Pruned, prune
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.simulator import SimulatorConfig
from ut_clips_dagster_tests.platform import ASSETS, TIME_SCALE, TestPlatform, running_platform
from ut_clips_dagster_tests.sensors.ticks import tick

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestPlatform]:
    """Archived, relisted, failed, launched in vain, and never tried: made once, and copied for each test."""
    folder = tmp_path_factory.mktemp("history")
    config = SimulatorConfig(sessions=6, clips_total=8, time_scale=TIME_SCALE, rate_limit=1000)
    (folder / "home").mkdir()
    with (
        pytest.MonkeyPatch.context() as patch,
        running_platform(folder, patch, config) as plain,
        DagsterInstance.local_temp(str(folder / "home")) as instance,
    ):
        platform = replace(plain, instance=instance)
        make_history(platform)
        yield platform


@pytest.fixture
def platform(history: TestPlatform, tmp_path: Path) -> Iterator[TestPlatform]:
    shutil.copytree(history.instance.root_directory, tmp_path / "home")
    with DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield replace(history, instance=instance)


def make_history(platform: TestPlatform) -> None:
    tick(platform, "new_sessions")
    keys = platform.sessions()
    platform.simulator.faults.add(f"clip_error:clip_uuid={platform.simulator.world.add_clip(keys[3]).clip_uuid}")
    assert platform.run(keys[0], keys[2]).success
    assert platform.run(keys[0]).success
    assert not platform.run(keys[3], keys[4]).success
    platform.simulator.world.add_clip(keys[1])
    assert platform.relist([keys[1], keys[2]]).success
    job = platform.definitions.resolve_job_def(JOB)
    in_vain = platform.instance.create_run_for_job(
        job, status=DagsterRunStatus.STARTING, tags={START: keys[2], END: keys[2]}
    )
    platform.instance.report_run_failed(in_vain)


def seen(platform: TestPlatform) -> dict[str, Any]:
    """What the UI, the sensors and the commands learn from the instance."""
    instance, keys = platform.instance, platform.sessions()
    found: dict[str, Any] = {}
    for name in (*ASSETS, "usertesting_sessions"):
        asset = AssetKey(name)
        status = get_and_update_asset_status_cache_value(instance, asset, sessions)
        assert status is not None
        found[name] = {
            "materialized": status.deserialize_materialized_partition_subsets(sessions).get_partition_keys(),
            "failed": set(status.deserialize_failed_partition_subsets(sessions).get_partition_keys()),
            "attempts": platform.failed(name),
            "asset record": str(instance.get_asset_records([asset])[0].asset_entry.last_materialization),
        }
        for key in keys:
            filtered = AssetRecordsFilter(asset, asset_partitions=[key])
            newest = instance.fetch_materializations(filtered, 1).records
            observed = instance.fetch_observations(filtered, 1).records
            found[f"{name} {key}"] = [(r.storage_id, r.run_id, str(r.event_log_entry)) for r in (*newest, *observed)]
    found["checks"] = {
        str(key): (record.run_id, record.status, str(record.event))
        for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(
            list(platform.definitions.resolve_asset_graph().asset_check_keys)
        ).items()
    }
    found["in flight"] = {run.run_id for run in instance.get_runs() if not run.is_finished}
    return found


def decisions(platform: TestPlatform) -> list[str]:
    """What the sensors would do now."""
    results = [tick(platform, name, carry_out=False) for name in ("new_sessions", "unfinished_sessions", "late_clips")]
    return [f"{result.run_requests} {result.skip_reason} {result.asset_events}" for result in results]


def soon() -> datetime:
    return now_utc() + timedelta(minutes=1)


def test_nobody_sees_a_difference(platform: TestPlatform) -> None:
    before = seen(platform), decisions(platform)
    runs = len(platform.instance.get_runs())

    pruned = prune(platform.instance, soon())

    assert pruned.runs == 3
    assert pruned.kept == runs - 3
    assert pruned.events > 40
    assert (seen(platform), decisions(platform)) == before
    assert prune(platform.instance, soon()) == Pruned(kept=pruned.kept)


def test_a_status_that_is_worked_out_anew_is_the_same_too(platform: TestPlatform) -> None:
    before = seen(platform)
    prune(platform.instance, soon())
    for name in ASSETS:
        platform.instance.event_log_storage.wipe_asset_cached_status(AssetKey(name))

    assert seen(platform) == before


def test_in_a_hosts_instance_only_runs_of_the_jobs_that_are_named_go(platform: TestPlatform) -> None:
    def jobs() -> list[str]:
        return [run.job_name for run in platform.instance.get_runs()]

    before = jobs()
    assert prune(platform.instance, soon(), jobs=["a job of theirs"]) == Pruned()
    assert jobs() == before
    assert prune(platform.instance, soon(), jobs=[RELIST]).runs == 1
    assert sorted([*jobs(), RELIST]) == sorted(before)


def test_young_runs_and_those_under_way_stay(platform: TestPlatform) -> None:
    job = platform.definitions.resolve_job_def(JOB)
    key = platform.sessions()[0]
    tags = {START: key, END: key}
    running = platform.instance.create_run_for_job(job, status=DagsterRunStatus.STARTED, tags=tags).run_id
    runs = {run.run_id for run in platform.instance.get_runs()}

    assert prune(platform.instance, now_utc() - timedelta(hours=1)).runs == 0
    assert {run.run_id for run in platform.instance.get_runs()} == runs
    prune(platform.instance, soon())
    assert running in {run.run_id for run in platform.instance.get_runs()}


def test_it_stops_at_its_time_limit_and_the_next_one_goes_on(platform: TestPlatform) -> None:
    times = iter([0.0, 1.0, 2.0, 99.0])

    first = prune(platform.instance, soon(), for_s=10, clock=lambda: next(times))
    second = prune(platform.instance, soon())

    assert (first.runs + first.kept, first.is_done) == (2, False)
    assert (first.runs + second.runs, second.is_done) == (3, True)


@pytest.mark.parametrize("step", ["_take_out_checks", "_take_out_files"])
def test_an_interrupted_pruning_is_gone_on_with(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = seen(platform), decisions(platform)
    with monkeypatch.context() as patch:
        patch.setattr(pruning, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            prune(platform.instance, soon())
    assert (seen(platform), decisions(platform)) == before

    pruned = prune(platform.instance, soon())

    assert pruned.runs == 3
    assert (seen(platform), decisions(platform)) == before


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_files_and_tags_of_a_pruned_run_are_gone(platform: TestPlatform) -> None:
    home = Path(platform.instance.root_directory)
    before = {run.run_id for run in platform.instance.get_runs()}
    assert all([path for path in home.rglob("*") if run_id in path.name] for run_id in before)

    prune(platform.instance, soon())

    gone = before - {run.run_id for run in platform.instance.get_runs()}
    assert len(gone) == 3
    assert [path for path in home.rglob("*") if any(run_id in path.name for run_id in gone)] == []
    with sqlite3.connect(next(home.rglob("runs.db"))) as runs:
        assert not {row[0] for row in runs.execute("select run_id from run_tags")} & gone


def test_logs_that_may_not_be_deleted_stay_and_keep_no_run_from_going(
    platform: TestPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError("AccessDenied, https://logs.invalid/x?X-Amz-Signature=abc")

    monkeypatch.setattr(platform.instance.compute_log_manager, "delete_logs", refuse)

    pruned = prune(platform.instance, soon())

    assert (pruned.runs, pruned.logs_left) == (3, 3)
    assert "Logs of 3 runs stay (PermissionError: AccessDenied, https://logs.invalid/x?***): let who" in str(pruned)


def test_the_command_says_what_it_did(platform: TestPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ut_clips_dagster.cli.prune.open_instance", lambda: platform.instance)

    kept = CliRunner().invoke(app, ["prune"])
    pruned = CliRunner().invoke(app, ["prune", "--keep-days", "0"])

    assert (kept.exit_code, kept.output) == (0, "0 runs and 0 events pruned.\n")
    assert pruned.exit_code == 0
    assert pruned.output.startswith("3 runs and ")


@pytest.mark.long
def test_a_database_for_all_runs_is_pruned_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PostgreSQL is; in SQLite each run has a file of its own."""
    config = SimulatorConfig(sessions=2, time_scale=TIME_SCALE, rate_limit=1000)
    with running_platform(tmp_path, monkeypatch, config) as platform:
        tick(platform, "new_sessions")
        keys = platform.sessions()
        platform.run(keys[0], keys[1])
        newest = platform.run(keys[0]).run_id
        before = seen(platform)

        assert prune(platform.instance, soon()).runs == 1

        assert seen(platform) == before
        assert [run.run_id for run in platform.instance.get_runs()] == [newest], "an asset's newest run stays"
