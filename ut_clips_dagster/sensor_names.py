"""What our sensors are called, and how often they tick: for the sensors themselves, and for what judges them.

Imports little: `ut-clips health` must not wait for the clients of the cloud.
"""

from __future__ import annotations

from collections.abc import Mapping

from ut_clips_dagster.settings import Settings

NEW_SESSIONS = "new_sessions"
UNFINISHED_SESSIONS = "unfinished_sessions"
LATE_CLIPS = "late_clips"
OLD_RUNS = "old_runs"
HEALTH_ALERTS = "health_alerts"
FOLLOW = "follow_"
"""Beginning of the names of those that request what follows on the clips."""
FOLLOW_INTERVAL_S = 30

INTERVALS_S = {NEW_SESSIONS: 300, UNFINISHED_SESSIONS: 60, LATE_CLIPS: 1800, OLD_RUNS: 3600, HEALTH_ALERTS: 60}


def sensors_of(settings: Settings) -> Mapping[str, float]:
    """Each sensor that these settings make, by its name in the account without one, with its interval in seconds."""
    transcripts = ["session_transcripts", "clip_transcripts"] if settings.transcripts else []
    published = ["clip_metadata", "clip_media", *transcripts[1:], "clips"] if settings.bigquery_dataset else []
    following = ["clip_media", *transcripts, *(f"bigquery_{name}" for name in published)]
    intervals = {**INTERVALS_S, NEW_SESSIONS: settings.discovery_interval_s}
    if not settings.alert_urls:
        del intervals[HEALTH_ALERTS]
    return {**intervals, **{f"{FOLLOW}{name}": FOLLOW_INTERVAL_S for name in following}}
