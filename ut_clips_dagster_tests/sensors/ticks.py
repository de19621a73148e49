"""One tick of a sensor, with its additions carried out as the daemon does."""

from __future__ import annotations

from dagster import AddDynamicPartitionsRequest, SensorResult, build_sensor_context

from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster_tests.platform import TestPlatform


def tick(platform: TestPlatform, name: str, cursor: str | None = None, *, carry_out: bool = True) -> SensorResult:
    repository = platform.definitions.get_repository_def()
    sensor = repository.get_sensor_def(name)
    resources = {key: (platform.definitions.resources or {})[key] for key in sensor.required_resource_keys}
    with build_sensor_context(platform.instance, cursor=cursor, resources=resources) as context:
        result = sensor(context)
    assert isinstance(result, SensorResult)
    if carry_out:
        for request in result.dynamic_partitions_requests or ():
            assert isinstance(request, AddDynamicPartitionsRequest)
            platform.instance.add_dynamic_partitions(SESSIONS, list(request.partition_keys))
        for event in result.asset_events or ():
            platform.instance.report_runless_asset_event(event)
    return result


def skip_reason(result: SensorResult) -> str:
    reason = result.skip_reason
    return str(getattr(reason, "skip_message", reason))
