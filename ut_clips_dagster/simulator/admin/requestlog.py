"""What was asked of the simulator: for tests that count requests, and for people who watch one work."""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime

from ut_clips_dagster.simulator.api.calls import API_OPERATIONS, Operation
from ut_clips_dagster.simulator.faults.names import FaultName

_MOST_ENTRIES = 100_000


@dataclass(frozen=True)
class LoggedRequest:
    """One request: when it came (real time), what it was, and what it was answered.

    `status` is None where no answer was sent (`stall`); `fault` names the wire fault that befell it; `query` is the
    query string, without that of media links, which are credentials.
    """

    at: datetime
    operation: Operation
    session_id: str | None
    clip_uuid: str | None
    client_id: str | None
    query: str
    status: int | None
    fault: FaultName | None


class RequestLog:
    """The newest 100,000 requests, and counts of all; safe to use from any thread."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_MOST_ENTRIES)
        self._counts: Counter[tuple[Operation, int | None]] = Counter()
        self._lock = threading.Lock()

    def add(self, entry: LoggedRequest) -> None:
        """Write a request down."""
        with self._lock:
            self._entries.append(entry)
            self._counts[entry.operation, entry.status] += 1

    def entries(self, operation: Operation | str | None = None) -> tuple[LoggedRequest, ...]:
        """The requests (of one operation), oldest first, in the order of their answers."""
        with self._lock:
            entries = tuple(self._entries)
        return entries if operation is None else tuple(each for each in entries if each.operation == operation)

    def count(self, operation: Operation | str | None = None, status: int | None = None) -> int:
        """How many requests there were (of one operation) (with one status), token and media ones included."""
        with self._lock:
            return sum(
                number
                for (operation_seen, status_seen), number in self._counts.items()
                if operation in (None, operation_seen) and status in (None, status_seen)
            )

    def api_count(self) -> int:
        """How many requests the API itself got: what the rate limit is about, refused ones included."""
        return sum(self.count(operation) for operation in API_OPERATIONS)

    def counts(self) -> dict[tuple[Operation, int | None], int]:
        """How many requests there were, by operation and status."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Forget all: what follows is counted from 0."""
        with self._lock:
            self._entries.clear()
            self._counts.clear()
