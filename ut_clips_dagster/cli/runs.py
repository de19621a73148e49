"""Runs of the platform's jobs inside a command."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterEvent
from dagster._core.events import JobFailureData
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster_shared.error import SerializableErrorInfo

from ut_clips_dagster.account import ARCHIVE_JOB
from ut_clips_dagster.cli.console import signals_kept
from ut_clips_dagster.cli.platform import Platform
from ut_clips_dagster.run_queue import AT_WORK, BATCH_TAG

INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_job(platform: Platform, job: str, piece: Sequence[str]) -> list[str]:
    """Run a job in this process over sessions that are contiguous in Dagster's order; returns why it failed.

    Raises:
        KeyboardInterrupt: a person or a supervisor ended it; Dagster takes a signal for the end of one run only.
    """
    span = {ASSET_PARTITION_RANGE_START_TAG: piece[0], ASSET_PARTITION_RANGE_END_TAG: piece[-1]}
    if job == platform.account.named(ARCHIVE_JOB):
        span[BATCH_TAG] = platform.account.named(AT_WORK)
    with signals_kept() as ending:
        run = platform.definitions.resolve_job_def(job).execute_in_process(
            instance=platform.instance,
            partition_key=piece[0] if len(piece) == 1 else None,
            tags=None if len(piece) == 1 else span,
            raise_on_error=False,
            run_config=QUIET,
        )
        failed = [event for event in run.all_events if event.is_failure]  # a run that could not begin has no step's
        failures = [event for event in failed if event.is_step_failure] or failed
        if ending() or any(_is_an_interrupt(event) for event in failures):
            raise KeyboardInterrupt
    return [_reason(event) for event in failures]


def _is_an_interrupt(event: DagsterEvent) -> bool:
    error = _error(event)
    return error is not None and error.cls_name in INTERRUPTS


def _reason(event: DagsterEvent) -> str:
    """Our own failure names every session; of anything else, the error that it was."""
    data = event.event_specific_data
    if isinstance(data, StepFailureData) and data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = _error(event)
    while error and error.cause:
        error = error.cause
    return error.message.strip() if error else "The run failed; see the Dagster UI."


def _error(event: DagsterEvent) -> SerializableErrorInfo | None:
    data = event.event_specific_data
    return data.error if isinstance(data, StepFailureData | JobFailureData) else None
