"""`old_runs`: prunes Dagster's storage a little every hour, so that it does not grow for ever."""

from collections.abc import Sequence
from datetime import timedelta

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SkipReason, sensor

from ut_clips_dagster.account import Account
from ut_clips_dagster.known_sessions import archiving_jobs
from ut_clips_dagster.pruning import KEEP_DAYS, prune
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.sensor_names import INTERVALS_S, OLD_RUNS
from ut_clips_dagster.sensors.outcomes import failing_visibly

INTERVAL_S = INTERVALS_S[OLD_RUNS]
FOR_S = 20.0
"""A tick may take 60 s. Some 200 runs go in this time."""


def old_runs_sensor() -> SensorDefinition:
    """The sensor of an instance that is ours alone, on by default.

    A schedule would add a run, and wait in the queue behind those that archive.
    """
    description = (
        f"Prunes runs of more than {KEEP_DAYS} days ago; what every partition shows stays. "
        "To keep them for another time, stop this sensor and run `ut-clips prune --keep-days` from cron."
    )
    return _sensor(OLD_RUNS, description, DefaultSensorStatus.RUNNING)


def old_runs_of_account_sensor(account: Account, follow_on_jobs: Sequence[str]) -> SensorDefinition:
    """The sensor in a host's location: of the account's jobs only, and off until the host's people start it."""
    description = (
        f"Prunes this account's own runs of more than {KEEP_DAYS} days ago, and no other; what every partition shows "
        "stays. Off until somebody starts it: how long runs are kept is for the location's people to say."
    )
    jobs = [*archiving_jobs(account), *follow_on_jobs]
    return _sensor(account.named(OLD_RUNS), description, DefaultSensorStatus.STOPPED, jobs)


def _sensor(
    name: str, description: str, status: DefaultSensorStatus, jobs: Sequence[str] | None = None
) -> SensorDefinition:
    @sensor(name=name, minimum_interval_seconds=INTERVAL_S, default_status=status, description=description)
    @failing_visibly()
    def old_runs(context: SensorEvaluationContext) -> SkipReason:
        before = now_utc() - timedelta(days=KEEP_DAYS)
        return SkipReason(str(prune(context.instance, before, for_s=FOR_S, jobs=jobs)))

    return old_runs
