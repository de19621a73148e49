"""A whole platform for a test: simulator, archive directory, Dagster instance and definitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterEvent, DagsterInstance, Definitions
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import JOB, archive_resource, build_definitions
from ut_clips_dagster.known_sessions import RELIST, relist_config
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.settings import Settings, load_settings
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer, media_file

TIME_SCALE = 200.0
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__"), JOB)
"""Where a queued run comes from, as Dagster must know."""
ASSETS = ("clip_list", "clip_urls", "clip_files", "clip_metadata")


@dataclass(frozen=True)
class TestPlatform:
    """What a test works with; partitions are added by `add_partitions`, or by a sensor's tick."""

    __test__ = False

    simulator: SimulatorServer
    instance: DagsterInstance
    settings: Settings
    root: Path

    @property
    def definitions(self) -> Definitions:
        return build_definitions(self.settings)

    @property
    def archive(self) -> ArchiveResource:
        return archive_resource(self.settings)

    def sessions(self) -> list[str]:
        return [session.session_id for session in self.simulator.world.sessions()]

    def add_partitions(self, keys: Sequence[str] | None = None) -> list[str]:
        keys = self.sessions() if keys is None else list(keys)
        self.instance.add_dynamic_partitions(SESSIONS, keys)
        return keys

    def run(self, first: str, last: str | None = None, assets: Sequence[str] | None = None) -> Any:
        """Run the job over one partition, or a range; only some assets when given."""
        span = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last or first}
        return self.definitions.resolve_job_def(JOB).execute_in_process(
            instance=self.instance,
            partition_key=first if last is None else None,
            tags=None if last is None else span,
            asset_selection=[AssetKey(name) for name in assets] if assets else None,
            raise_on_error=False,
            run_config=QUIET,
        )

    def relist(self, keys: Sequence[str]) -> Any:
        """Run the job of `late_clips` over these sessions."""
        config = {**relist_config(keys), **QUIET}
        job = self.definitions.resolve_job_def(RELIST)
        return job.execute_in_process(instance=self.instance, raise_on_error=False, run_config=config)

    def materialized(self, asset: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(AssetKey(asset)))

    def failed(self, asset: str) -> set[str]:
        """Partitions whose last run planned them and did not materialize them: Dagster's UI shows them as failed."""
        return set(
            self.instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(
                AssetKey(asset)
            )
        )

    def assert_files_are_right(self) -> None:
        """Every file below clips/ is byte for byte what the simulator serves for its clip."""
        expected = {
            f"{s.session_id}/{c.clip_uuid}": media_file(self.simulator.world.render(c)).read()
            for s in self.simulator.world.sessions()
            for c in self.simulator.world.clips(s.session_id)
        }
        found = {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in (self.root / "clips").rglob("*.mp4")}
        assert found.keys() <= expected.keys()
        assert all(expected[name] == content for name, content in found.items())


def materializations(run: Any, asset: str) -> list[DagsterEvent]:
    return [e for e in run.all_events if e.is_step_materialization and e.asset_key.path == [asset]]


@contextmanager
def running_platform(
    root: Path, monkeypatch: pytest.MonkeyPatch, config: SimulatorConfig, archive: str | None = None
) -> Iterator[TestPlatform]:
    with SimulatorServer(config) as simulator, DagsterInstance.ephemeral(tempdir=str(root)) as instance:
        environment = {
            **simulator.environment,
            "UT_CLIPS_ARCHIVE": archive or str(root / "archive"),
            "UT_CLIPS_POLL_INTERVAL_S": str(3.0 / config.time_scale),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield TestPlatform(simulator, instance, load_settings(), root / "archive")
