"""Sensors that run unattended: find sessions, try unfinished ones again, look for late and edited clips, prune."""

from ut_clips_dagster.sensors.follow_on import follow_on_sensor
from ut_clips_dagster.sensors.health_alerts import health_alerts_sensor
from ut_clips_dagster.sensors.late_clips import late_clips_sensor
from ut_clips_dagster.sensors.new_sessions import new_sessions_sensor
from ut_clips_dagster.sensors.old_runs import old_runs_of_account_sensor, old_runs_sensor
from ut_clips_dagster.sensors.unfinished_sessions import unfinished_sessions_sensor

__all__ = [
    "follow_on_sensor",
    "health_alerts_sensor",
    "late_clips_sensor",
    "new_sessions_sensor",
    "old_runs_of_account_sensor",
    "old_runs_sensor",
    "unfinished_sessions_sensor",
]
