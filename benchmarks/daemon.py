"""Ticks of our sensors by Dagster's own daemon code, with a code server in its own process, as in production."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData, TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

REPOSITORY = "__repository__"


@dataclass(frozen=True)
class Tick:
    """One tick: from the daemon's start of it to its last write."""

    seconds: float
    runs: int
    cursor_bytes: int
    said: str


class Daemon:
    """Ticks one sensor at a time."""

    def __init__(self, instance: DagsterInstance, workspace: Any) -> None:
        self._instance = instance
        self._workspace = workspace
        (location,) = workspace.create_request_context().get_code_location_entries().values()
        if location.load_error:
            raise SystemExit(str(location.load_error))
        repository = location.code_location.get_repository(REPOSITORY)
        self._sensors = {sensor.name: sensor for sensor in repository.get_sensors()}

    def tick(self, name: str, cursor: str | None = None) -> Tick:
        """One tick; with another cursor than the last one's when given."""
        for other, sensor in self._sensors.items():
            self._set(sensor, due=other == name, cursor=cursor if other == name else None)
        logger = logging.getLogger("benchmark-daemon")
        logger.setLevel(logging.ERROR)
        list(execute_sensor_iteration(self._workspace, logger, None, None))
        sensor = self._sensors[name]
        tick = self._instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id, limit=1)[0]
        if tick.status not in (TickStatus.SUCCESS, TickStatus.SKIPPED):
            raise SystemExit(f"The tick of {name} failed: {tick.error}")
        return Tick(
            (tick.end_timestamp or 0) - tick.timestamp,
            len(tick.run_ids),
            len(tick.cursor or ""),
            tick.skip_reason or "",
        )

    def cursor(self, name: str) -> str:
        """The sensor's cursor now."""
        sensor = self._sensors[name]
        state = self._instance.get_instigator_state(sensor.get_remote_origin_id(), sensor.selector_id)
        return str(state.instigator_data.cursor or "") if state else ""

    def _set(self, sensor: Any, *, due: bool, cursor: str | None) -> None:
        state = self._instance.get_instigator_state(sensor.get_remote_origin_id(), sensor.selector_id)
        if state is None:
            state = sensor.get_current_instigator_state(None)
            self._instance.add_instigator_state(state)
        before = state.instigator_data or SensorInstigatorData()
        data = before._replace(
            last_tick_timestamp=None if due else 4e9,
            last_tick_start_timestamp=None if due else 4e9,
            cursor=before.cursor if cursor is None else cursor,
        )
        self._instance.update_instigator_state(InstigatorState(state.origin, state.instigator_type, state.status, data))


@contextmanager
def daemon(instance: DagsterInstance) -> Iterator[Daemon]:
    """A daemon for the settings in the environment."""
    target = ModuleTarget("ut_clips_dagster.definitions", None, None, "ut_clips_dagster")
    with create_test_daemon_workspace_context(target, instance) as workspace:
        yield Daemon(instance, workspace)
