"""What the Dagster instance says of a run while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError
from sqlalchemy.exc import SQLAlchemyError

from ut_clips_dagster.errors import RunEndedError


def ended_by_others(instance: DagsterInstance, run_id: str) -> Callable[[], bool]:
    """Says whether somebody ended a run: a person, or run monitoring that took it for dead and had it retried."""

    def ended() -> bool:
        try:
            run = instance.get_run_by_id(run_id)
        except Exception as error:
            # PostgreSQL's storage raises one of its own, caused by SQLAlchemy's, once its tries are used up
            if not isinstance(error, SQLAlchemyError) and not isinstance(error.__cause__, SQLAlchemyError):
                raise
            return False  # cut off from the instance, which says nothing of the run: it is asked again
        return run is None or run.is_finished or run.status is DagsterRunStatus.CANCELING

    return ended


@contextmanager
def stopping_silently() -> Iterator[None]:
    """Let a run that was ended stop as if by a signal: then Dagster keeps the status that it was given."""
    try:
        yield
    except RunEndedError as error:
        raise DagsterExecutionInterruptedError(str(error)) from None
