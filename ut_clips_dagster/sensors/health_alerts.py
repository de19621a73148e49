"""`health_alerts`: tells a person when something is no longer well, and when it is again."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster import SensorDefinition, SensorEvaluationContext, SkipReason, sensor
from pydantic import SecretStr

from ut_clips_dagster.account import ARCHIVE, DEFAULT, Account
from ut_clips_dagster.health.delivery import AlertMemory, send
from ut_clips_dagster.health.findings import Limits, judge
from ut_clips_dagster.health_facts import gather
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.sensor_names import HEALTH_ALERTS, INTERVALS_S
from ut_clips_dagster.sensors.outcomes import TickError, failing_visibly

INTERVAL_S = INTERVALS_S[HEALTH_ALERTS]


def health_alerts_sensor(
    alert_urls: Sequence[SecretStr], test_ids: Sequence[str], sensors: Mapping[str, float], account: Account = DEFAULT
) -> SensorDefinition:
    """The sensor; it sends no request to the API. That its daemon is dead only `ut-clips health --alert` can tell.

    It judges the others of `sensors`: what fails its own ticks is that it cannot tell.
    """
    others = {name: interval_s for name, interval_s in sensors.items() if name != HEALTH_ALERTS}

    @sensor(
        name=account.named(HEALTH_ALERTS),
        minimum_interval_seconds=INTERVAL_S,
        default_status=account.sensor_status,
        required_resource_keys={account.named(ARCHIVE)},
        description="Sends one message to UT_CLIPS_ALERT_URLS when something is not well, and one when it is again.",
    )
    @failing_visibly()
    def health_alerts(context: SensorEvaluationContext, **_: object) -> SkipReason:
        archive: ArchiveResource = account.resource(context, ARCHIVE)
        store = archive.store()
        home = Path(context.instance.root_directory)
        facts = gather(store, archive.table(), test_ids, context.instance, home, now_utc(), account, others)
        findings = judge(facts, Limits())
        urls = [url.get_secret_value() for url in alert_urls]
        memory = AlertMemory(store, archive_problem=facts.archive_problem)
        failed = send(memory, urls, findings, facts.archive, facts.now)
        if failed:
            raise TickError(f"An alert cannot be delivered to {', '.join(failed)}; it is tried again at the next tick.")
        return SkipReason("; ".join(finding.what for finding in findings) or "All is well.")

    return health_alerts
