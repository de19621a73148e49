"""The code location as it is shipped, its schedule run SOAK_SCALE times as fast.

Intervals and waiting times are constants of the sensors' modules; they are divided here, before the definitions are
built. The product itself knows nothing of it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from importlib import import_module

SCALE = float(os.environ["SOAK_SCALE"])
LEAST_INTERVAL_S = 5
LEAST_FREE_BYTES = int(os.environ["SOAK_LEAST_FREE_MIB"]) * 1024**2
KEEP_RUNS = timedelta(hours=3)
"""Of the schedule, where 14 days are shipped: pruning is to happen within the soak."""

SPANS = {
    "ut_clips_dagster.archive.discovery": ("OUTAGE_AFTER",),
    "ut_clips_dagster.archive.relisting": ("RELIST_AFTER",),
    "ut_clips_dagster.health.alerts": ("SETTLED_AFTER", "WELL_AFTER"),
    "ut_clips_dagster.run_queue": ("SILENT_AFTER",),
    "ut_clips_dagster.sensors.late_clips": ("ASK_AGAIN_AFTER",),
    "ut_clips_dagster.sensors.new_sessions": ("READ_TO_END_EVERY", "READ_MALFORMED_EVERY"),
    "ut_clips_dagster.sensors.unfinished_sessions": ("RETRY_AFTER",),
}
"""Every waiting time that follows a schedule of minutes, hours or days."""
LEAST_SPANS = {
    "OUTAGE_AFTER": timedelta(seconds=30),
    "SETTLED_AFTER": timedelta(seconds=10),
    "SILENT_AFTER": timedelta(minutes=2),
    "WELL_AFTER": timedelta(seconds=30),
}
"""A busy machine takes its own time for a tick or a run, however fast the schedule."""
INTERVALS = ("late_clips", "unfinished_sessions", "old_runs", "follow_on", "health_alerts")


def _accelerate() -> None:
    for name, constants in SPANS.items():
        module = import_module(name)
        for constant in constants:
            setattr(module, constant, _faster(getattr(module, constant), LEAST_SPANS.get(constant, timedelta())))
    outage = import_module("ut_clips_dagster.archive.discovery").OUTAGE_AFTER
    import_module("ut_clips_dagster.sensors.outcomes").OUTAGE_AFTER = outage
    for sensor in INTERVALS:
        module = import_module(f"ut_clips_dagster.sensors.{sensor}")
        module.INTERVAL_S = max(LEAST_INTERVAL_S, round(module.INTERVAL_S / SCALE))
    alerts = import_module("ut_clips_dagster.sensors.health_alerts")
    alerts.Limits = partial(alerts.Limits, free_bytes=LEAST_FREE_BYTES)
    import_module("ut_clips_dagster.sensors.old_runs").KEEP_DAYS = KEEP_RUNS / SCALE / timedelta(days=1)


def _faster(span: timedelta | tuple[timedelta, ...], least: timedelta) -> timedelta | tuple[timedelta, ...]:
    if isinstance(span, tuple):
        return tuple(each / SCALE for each in span)
    return max(span / SCALE, least)


_accelerate()

from ut_clips_dagster.definitions import defs  # noqa: E402 - as it is built when it is imported

__all__ = ["defs"]
