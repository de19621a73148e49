"""Faults: ways in which the simulator misbehaves when told to, and whom they hit."""

import random
import threading
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ut_clips_dagster.simulator.api.calls import Call, Operation
from ut_clips_dagster.simulator.faults.names import FaultName


class Fault(BaseModel):
    """One fault that is switched on, and its selectors: it hits a request that matches all of them.

    Attributes:
        name: what happens.
        operation: only this operation; None is the fault's own default (`FaultName.default_operations`).
        session_id: only this session.
        clip_uuid: only this clip.
        skip: let this many matching requests pass first.
        count: then hit this many; None is for ever.
        probability: hit each of them with this probability.
        seed: of the dice for `probability`.
        status: for `server_error`: the status.
        retry_after_s: for 429 and 5xx: a Retry-After header, real seconds.
        delay_s: for `slow_body`: real seconds between two pieces.
        at: for `replaced`: which value, by the names and numbers that lead to it, with points between them.
        value: for `replaced`: the JSON in its place, which need not be right; None: the value is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FaultName
    operation: Operation | None = None
    session_id: str | None = None
    clip_uuid: str | None = None
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0
    status: int = Field(default=500, ge=500, le=599)
    retry_after_s: int | None = Field(default=None, ge=0)
    delay_s: float = Field(default=0.25, ge=0)
    at: str = ""
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """The fault that a string like `server_error:operation=get_clip,count=2` names.

        Raises:
            ValueError: the string names no fault, or a selector that there is not.
        """
        name, _, selectors = text.strip().partition(":")
        pairs = [pair.partition("=") for pair in selectors.split(",") if pair.strip()]
        try:
            return cls.model_validate({"name": name, **{key.strip(): value.strip() for key, _, value in pairs}})
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError(f"not a fault: {text!r} ({wrong})") from error

    def matches(self, call: Call) -> bool:
        """Whether the selectors admit a call."""
        operations = self.name.default_operations() if self.operation is None else {self.operation}
        return (
            call.operation in operations
            and self.session_id in (None, call.session_id)
            and self.clip_uuid in (None, call.clip_uuid)
        )


class FaultState(NamedTuple):
    """A fault that is on: its ID, the fault, the matching requests it has seen and those it has hit."""

    fault_id: int
    fault: Fault
    seen: int
    hits: int


class Faults:
    """The faults that are on; safe to use from any thread."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, FaultState] = {}
        self._dice: dict[int, random.Random] = {}
        self._next_id = 1
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault | str) -> int:
        """Switch a fault on, given as such or as a string for `Fault.parse`; returns its ID."""
        parsed = Fault.parse(fault) if isinstance(fault, str) else fault
        with self._lock:
            fault_id = self._next_id
            self._next_id += 1
            self._states[fault_id] = FaultState(fault_id, parsed, seen=0, hits=0)
            self._dice[fault_id] = random.Random(parsed.seed)  # noqa: S311  # repeatable dice, no secret
            return fault_id

    def remove(self, fault_id: int) -> bool:
        """Switch one fault off; False when there is none of this ID."""
        with self._lock:
            return self._states.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._states.clear()

    def states(self) -> tuple[FaultState, ...]:
        """The faults that are on, oldest first, used-up ones included."""
        with self._lock:
            return tuple(self._states.values())

    def take(self, call: Call, among: frozenset[FaultName]) -> Fault | None:
        """The first fault of `among` that hits this call, or None; counts the hit."""
        with self._lock:
            for state in self._states.values():
                if state.fault.name in among and state.fault.matches(call) and self._hits(state):
                    return state.fault
        return None

    def _hits(self, state: FaultState) -> bool:
        fault = state.fault
        used_up = fault.count is not None and state.hits >= fault.count
        hit = state.seen >= fault.skip and not used_up and self._dice[state.fault_id].random() < fault.probability
        # The key exists already, so that replacing its value is safe while take() iterates.
        self._states[state.fault_id] = state._replace(seen=state.seen + 1, hits=state.hits + hit)
        return hit
