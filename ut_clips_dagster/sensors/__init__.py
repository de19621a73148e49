"""Sensors that run unattended: find sessions, try unfinished ones again, look for late and edited clips."""

from ut_clips_dagster.sensors.follow_on import follow_on_sensor
from ut_clips_dagster.sensors.late_clips import late_clips_sensor
from ut_clips_dagster.sensors.new_sessions import new_sessions_sensor
from ut_clips_dagster.sensors.unfinished_sessions import unfinished_sessions_sensor

__all__ = ["follow_on_sensor", "late_clips_sensor", "new_sessions_sensor", "unfinished_sessions_sensor"]
