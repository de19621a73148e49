"""`old_runs`: prunes Dagster's storage a little every hour, so that it does not grow for ever."""

from datetime import timedelta

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SkipReason, sensor

from ut_clips_dagster.pruning import KEEP_DAYS, prune
from ut_clips_dagster.results_api.models import now_utc

INTERVAL_S = 3600
FOR_S = 20.0
"""A tick may take 60 s. Some 200 runs go in this time."""


def old_runs_sensor() -> SensorDefinition:
    """The sensor: a schedule would add a run, and wait in the queue behind those that archive."""

    @sensor(
        name="old_runs",
        minimum_interval_seconds=INTERVAL_S,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            f"Prunes runs of more than {KEEP_DAYS} days ago; what every partition shows stays. "
            "To keep them for another time, stop this sensor and run `ut-clips prune --keep-days` from cron."
        ),
    )
    def old_runs(context: SensorEvaluationContext) -> SkipReason:
        return SkipReason(str(prune(context.instance, now_utc() - timedelta(days=KEEP_DAYS), for_s=FOR_S)))

    return old_runs
