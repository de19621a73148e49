"""How a tick ends that cannot do its work: visibly, and with the message before any stack trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from dagster import DagsterError, DagsterInstance, DagsterRunStatus, RunsFilter

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.discovery import LOST, OUTAGE_AFTER, DiscoveryDocument
from ut_clips_dagster.archive.wording import duration
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.known_sessions import is_archiving as holds_sessions

RUNNING = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


class TickError(ClipsError, DagsterError):
    """A tick that failed: its message is what a person reads first.

    A DagsterError, as Dagster wraps every other exception of a sensor in one of its own ("Error occurred during the
    execution of evaluation_fn"), whose stack trace then stands before the reason.
    """


@contextmanager
def failing_visibly() -> Iterator[None]:
    """Let a tick fail for what a person has to set right, such as an archive that cannot be read."""
    try:
        yield
    except TickError:
        raise
    except ClipsError as error:
        raise TickError(str(error)) from None


def is_archiving(instance: DagsterInstance, account: Account = DEFAULT) -> bool:
    """Whether one of the account's own runs is in progress, and may have used the request budget."""
    return any(holds_sessions(run, account) for run in instance.get_runs(RunsFilter(statuses=RUNNING)))


def why_unread(document: DiscoveryDocument, *, archiving: bool, now: datetime) -> str:
    """Why a test's session list was not read, and for how long that has been so.

    Raises:
        TickError: a person has to know, see `DiscoveryDocument.is_lost`.
    """
    test = f"Test {document.test_id}"
    if document.kind in LOST:
        what = (
            "No new session is found until that is set right."
            if document.kind == "credentials"
            else "No new session of this test is found until that is set right; the other tests are still asked."
        )
        told = f"{test}: {document.problem}\n{what} `ut-clips check-settings` asks again."
        raise TickError(told) from None  # what was caught says the same again, below a second stack trace
    reason = _of_budget(archiving=archiving) if document.kind == "budget" else document.problem
    since = document.succeeded_at or document.first_asked_at
    if document.is_lost(now):
        never = "" if document.succeeded_at else ", and never before"
        raise TickError(
            f"{test}: its sessions could not be read for {_rough(now - since)}{never}. The last reason: {reason}\n"
            "Nothing is lost: all sessions are found once it answers. `ut-clips health` says when it does."
        ) from None
    return (
        f"{test}: {reason} Asked again when its turn comes; a failure once nothing was read for {_rough(OUTAGE_AFTER)}."
    )


def _of_budget(*, archiving: bool) -> str:
    if archiving:
        return "The request budget is used up by our own running archives."
    return (
        "The request budget is used up by another client of this account: no run of this Dagster instance is in "
        "progress. Look for an `ut-clips archive` elsewhere, or another program that uses these credentials."
    )


def _rough(span: timedelta) -> str:
    return duration(span.total_seconds())
