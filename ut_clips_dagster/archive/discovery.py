"""When each test's session list was last read, and why it was not: `discovery/<test_id>.json`.

Kept in the archive, as whoever finds sessions writes it (the sensor, `ut-clips archive`) and whoever may read the
archive can judge it (`ut-clips health`), with or without Dagster. A failed tick of a sensor keeps no cursor: so the
sensor's turn is here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from ut_clips_dagster.archive.documents import Document
from ut_clips_dagster.archive.records import seal, unseal
from ut_clips_dagster.clock import is_future, not_ahead
from ut_clips_dagster.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExhaustedError,
    ForbiddenError,
    NotFoundError,
    ResultsApiError,
)
from ut_clips_dagster.results_api.models import UtcDatetime, Uuid, is_uuid, now_utc
from ut_clips_dagster.storage.store import Store

DISCOVERY = "discovery/"
OUTAGE_AFTER = timedelta(hours=1)
"""An API that does not answer for so long is no passing trouble any more."""
LEAST_FAILURES = 2
"""With many tests each is asked seldom: one failed request is no outage, however long ago the one before was."""

Problem = Literal["credentials", "access", "outage", "budget"]
LOST = ("credentials", "access")
"""What does not pass by itself: the client is refused, or it may not read this test."""


class DiscoveryDocument(Document):
    """What is known of reading one test's session list."""

    version: Literal[1] = 1
    test_id: Uuid
    first_asked_at: UtcDatetime
    asked_at: UtcDatetime
    succeeded_at: UtcDatetime | None = None
    failing_since: UtcDatetime | None = None
    """When the first request failed after the last that did not; None while all is well."""
    failures: int = 0
    """How many requests in a row failed."""
    kind: Problem | None = None
    problem: str = ""
    sessions: int | None = None
    """`totalCount` of the newest answer."""
    malformed: int = 0
    """Entries of the list that could not be understood; a page of it that cannot be read counts as one."""

    def not_ahead(self, now: datetime) -> DiscoveryDocument:
        """The same without times that lie ahead: they would hide for as long that nothing is read."""
        times = ("first_asked_at", "asked_at", "succeeded_at", "failing_since")
        return self.model_copy(update={name: not_ahead(at, now) for name in times if (at := getattr(self, name))})

    def is_lost(self, now: datetime) -> bool:
        """Whether a person has to know: access is lost, or nothing was read for an hour."""
        if self.kind in LOST:
            return True
        return self.failures >= LEAST_FAILURES and now - (self.succeeded_at or self.first_asked_at) >= OUTAGE_AFTER


def problem_of(error: ResultsApiError) -> Problem:
    """What kind of trouble an error is."""
    if isinstance(error, AuthenticationError):
        return "credentials"
    if isinstance(error, (BadRequestError, ForbiddenError, NotFoundError)):
        return "access"
    return "budget" if isinstance(error, BudgetExhaustedError) else "outage"


def next_test(
    test_ids: Sequence[str], known: Mapping[str, DiscoveryDocument], now: datetime, going_on_with: str = ""
) -> str:
    """The test whose turn it is: the one asked longest ago, so that one which fails never holds up the others.

    Args:
        test_ids: all tests.
        known: what is known of them.
        now: the present moment.
        going_on_with: a test of whose page sessions wait to be taken; it goes first, unless it failed.
    """
    before = known.get(going_on_with)
    if going_on_with in test_ids and before and before.failing_since is None:
        return going_on_with

    def asked_at(test_id: str) -> float:
        document = known.get(test_id)
        return document.asked_at.timestamp() if document and not is_future(document.asked_at, now) else 0.0

    return min(test_ids, key=asked_at)


class Discoveries:
    """Reads and writes the documents below `discovery/`. A damaged one counts as not there, and is written anew."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = now_utc) -> None:
        self._store = store
        self._clock = clock

    def read(self, test_id: str) -> DiscoveryDocument | None:
        """What is known of a test; None when it was never asked.

        Raises:
            StorageError: the archive cannot be read.
        """
        return _parse(self._store.read_document(_path(test_id)))

    def read_all(self, test_ids: Sequence[str] | None = None) -> dict[str, DiscoveryDocument]:
        """What is known of these tests; of all that were ever asked when None."""
        if test_ids is None:
            names = [path.removeprefix(DISCOVERY).removesuffix(".json") for path in self._store.walk(DISCOVERY)]
            test_ids = sorted(name for name in names if is_uuid(name))
        found = {test_id: self.read(test_id) for test_id in test_ids}
        return {test_id: document for test_id, document in found.items() if document}

    def asking(self, test_id: str) -> DiscoveryDocument:
        """Write that a test is asked now: its turn is over, whatever becomes of the request or of this process."""
        return self._update(test_id)

    def succeeded(self, test_id: str, sessions: int, malformed: int = 0) -> DiscoveryDocument:
        """Write that a page of a test's session list was read."""
        return self._update(
            test_id,
            succeeded_at=self._clock(),
            failing_since=None,
            failures=0,
            kind=None,
            problem="",
            sessions=sessions,
            malformed=malformed,
        )

    def failed(self, test_id: str, error: ResultsApiError) -> DiscoveryDocument:
        """Write why a test's session list could not be read.

        Access that was lost stays lost until a request succeeds: an outage does not show that it is back.
        """
        return self._update(test_id, error)

    def _update(self, test_id: str, error: ResultsApiError | None = None, **changes: object) -> DiscoveryDocument:
        written: list[DiscoveryDocument] = []

        def update(content: bytes | None) -> bytes:
            now = self._clock()
            known = _parse(content) or DiscoveryDocument(test_id=test_id, first_asked_at=now, asked_at=now)
            before = known.not_ahead(now)
            if error:
                changes.update(failures=before.failures + 1, failing_since=before.failing_since or now)
                if before.kind not in LOST or problem_of(error) in LOST:
                    changes.update(kind=problem_of(error), problem=str(error))
            written[:] = [before.model_copy(update={"asked_at": now, **changes})]
            return seal(written[0].model_dump_json(indent=1).encode())

        self._store.update_document(_path(test_id), update)
        return written[0]


def _path(test_id: str) -> str:
    return f"{DISCOVERY}{test_id}.json"


def _parse(content: bytes | None) -> DiscoveryDocument | None:
    try:
        return None if content is None else DiscoveryDocument.model_validate_json(unseal(content))
    except ValueError:
        return None
