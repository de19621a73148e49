"""Faults that a test switches on: the next matching requests fail in the way it names."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from .requests import Api, Operation

if TYPE_CHECKING:
    from collections.abc import Collection

FaultKind = Literal[
    "status_409",  # answered at once; nothing is stored, as with the next two
    "status_412",
    "status_429",
    "status_503",
    "forbidden",  # 403
    "reset",  # the connection is closed before anything is done
    "cut_upload",  # the connection is closed half-way through the upload's data
    "ambiguous",  # done and stored, but the answer is 503
    "ambiguous_reset",  # done and stored, but the connection closes without an answer
]

ANY: Final[frozenset[Operation]] = frozenset(get_args(Operation))
UPLOADS: Final[frozenset[Operation]] = frozenset({"upload_start", "upload_chunk", "upload_final"})
STATUS: Final[dict[str, int]] = {
    "status_409": 409,
    "status_412": 412,
    "status_429": 429,
    "status_503": 503,
    "forbidden": 403,
}

_DEFAULT_ON: Final[dict[str, frozenset[Operation]]] = {
    "cut_upload": frozenset({"upload_chunk", "upload_final"}),
    "ambiguous": frozenset({"upload_final"}),
    "ambiguous_reset": frozenset({"upload_final"}),
}


@dataclass
class Fault:
    """One switch. `hits` counts the requests it has failed."""

    kind: FaultKind
    count: int | None
    on: frozenset[Operation]
    api: Api | None
    contains: str
    after: int
    hits: int = 0

    def matches(self, api: Api, operation: Operation, target: str) -> bool:
        return (
            (self.count is None or self.hits < self.count)
            and operation in self.on
            and self.api in (None, api)
            and self.contains in target
        )


@dataclass
class Faults:
    """The switches of one emulator. They may be set from any thread."""

    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        kind: FaultKind,
        *,
        count: int | None = 1,
        on: Collection[Operation] | None = None,
        api: Api | None = "json",
        contains: str = "",
        after: int = 0,
    ) -> Fault:
        """Make the next `count` matching requests fail (None: all of them, until `clear`).

        Args:
            kind: How they fail.
            count: How often.
            on: Which operations; by default those of an upload that the fault makes sense for.
            api: "json" (the client library), "xml" (Delta), or None for both.
            contains: A text in the decoded path or in the object's name.
            after: Let this many matching requests through first.
        """
        if kind not in get_args(FaultKind):
            raise ValueError(f"unknown fault {kind!r}: one of {', '.join(get_args(FaultKind))}")
        chosen = _DEFAULT_ON.get(kind, UPLOADS) if on is None else frozenset(on)
        fault = Fault(kind, count, chosen, api, contains, after)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, api: Api, operation: Operation, target: str) -> Fault | None:
        """Use up the first switch that matches a request."""
        with self._lock:
            for fault in self._faults:
                if not fault.matches(api, operation, target):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.hits += 1
                return fault
        return None
