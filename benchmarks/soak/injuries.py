"""Everything that goes wrong: each injury lasts for a while, is lifted, and must have harmed nothing but itself."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.people import HOSTILE, People
from benchmarks.soak.platform import Platform
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.simulator import Fault, FaultName, Operation, SimulatorServer
from ut_clips_dagster.simulator.faults.names import FILE_FAULTS

NO_SESSIONS = ("typed by hand", "../../etc/passwd", "3FA85F64-5717-4562-B3FC-2C963F66AFA6")
DELETED_TEST = "00000000-0000-4000-8000-00000000dead"
SMALL_DISK_BYTES = 1024**3
NOT_BY_NAME = FILE_FAULTS | {
    FaultName.REPLACED,  # what it replaces is an injury of its own
    FaultName.NOT_FOUND,  # of a clip list it says "no video", which is final until the session is listed again
}
"""Files that are not what is listed are stored as they are: what they are is told by `clip_media`, not by the bytes."""


@dataclass(frozen=True)
class Stage:
    """What an injury works with."""

    simulator: SimulatorServer
    platform: Platform
    people: People


Injury = Callable[[Stage], Iterator[None]]
"""A generator: what comes before its `yield` injures, what comes after lifts it."""


def _faults(*faults: str | Fault) -> Injury:
    def injury(stage: Stage) -> Iterator[None]:
        added = [stage.simulator.faults.add(fault) for fault in faults]
        yield
        for fault_id in added:
            stage.simulator.faults.remove(fault_id)

    return injury


def _keys_that_are_no_session(stage: Stage) -> Iterator[None]:
    with stage.platform.instance() as instance:
        instance.add_dynamic_partitions(SESSIONS, list(NO_SESSIONS))
    yield
    with stage.platform.instance() as instance:
        for key in NO_SESSIONS:
            instance.delete_dynamic_partition(SESSIONS, key)


def _malformed_sessions(stage: Stage) -> Iterator[None]:
    stage.people.session(clips=1)
    entries = (("sessions.0.startTime", "null"), ("sessions.1.sessionId", '"no UUID"'), ("sessions.2", "[]"))
    faults = [_replaced(at, value, Operation.LIST_SESSIONS) for at, value in entries]
    by_turns = [
        fault.model_copy(update={"probability": 1 / (len(faults) - number), "seed": number})
        for number, fault in enumerate(faults)
    ]
    yield from _faults(*by_turns)(stage)


def _malformed_clips(stage: Stage) -> Iterator[None]:
    entries = (("clips.0.name", "null"), ("clips.0.timeEndMs", "9" * 30), ("clips.1.timeEndMs", "null"))
    faults = [
        _replaced(at, value, Operation.LIST_CLIPS, stage.people.session(clips=2)) for at, value in entries
    ]  # fmt: skip
    yield from _faults(*faults)(stage)


def _replaced(at: str, value: str, operation: Operation, session_id: str | None = None) -> Fault:
    return Fault(name=FaultName.REPLACED, operation=operation, at=at, value=value, session_id=session_id)


def _deleted_test(stage: Stage) -> Iterator[None]:
    stage.platform.test_ids.insert(0, DELETED_TEST)
    stage.platform.restart()
    yield
    stage.platform.test_ids.remove(DELETED_TEST)
    stage.platform.restart()


def _wrong_secret(stage: Stage) -> Iterator[None]:
    stage.platform.secret = "rotated"
    stage.platform.restart()
    stage.people.session(clips=1)
    yield
    stage.platform.secret = "demo"
    stage.platform.restart()


def _used_up_by_another_client(stage: Stage) -> Iterator[None]:
    fault = stage.simulator.faults.add("rate_limited:probability=0.7")
    stage.people.session(clips=2)
    yield
    stage.simulator.faults.remove(fault)


def _hostile_names(stage: Stage) -> Iterator[None]:
    stage.people.session(names=HOSTILE)
    yield


def _bodies_that_are_no_video(stage: Stage) -> Iterator[None]:
    stage.people.session(clips=3)
    names = ("json_as_video", "html_as_video", "picture_as_video", "compressed", "empty_body", "wrong_content_type")
    yield from _faults(*(f"{name}:probability=0.3,seed={seed}" for seed, name in enumerate(names)))(stage)


def _dead_links(stage: Stage) -> Iterator[None]:
    stage.people.session(clips=3)
    names = ("expired_link", "expired_token", "gone", "forbidden:operation=media", "not_found:operation=media")
    faults = [f"{name}{',' if ':' in name else ':'}probability=0.3,seed={seed}" for seed, name in enumerate(names)]
    yield from _faults(*faults)(stage)


def _runs_on_one_session(stage: Stage) -> Iterator[None]:
    session_id = stage.people.session(clips=3)
    commands = [stage.platform.begin("archive", "--session", session_id) for _ in range(2)]
    yield
    for command in commands:
        command.wait(300)


def _sleeping_machine(stage: Stage) -> Iterator[None]:
    stage.platform.signal_all(signal.SIGSTOP)
    yield
    stage.platform.signal_all(signal.SIGCONT)


def _full_disk(stage: Stage) -> Iterator[None]:
    """Only where the archive is on a small disk of its own."""
    archive = stage.platform.archive
    ballast = archive / "ballast"
    if has_small_disk(archive):
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(65_536))
        stage.people.session(clips=3)
    yield
    ballast.unlink(missing_ok=True)


def has_small_disk(archive: Path) -> bool:
    """Whether the disk of this archive may be filled up."""
    return shutil.disk_usage(archive).total < SMALL_DISK_BYTES


def _by_name(name: FaultName) -> Injury:
    def injury(stage: Stage) -> Iterator[None]:
        stage.people.session(clips=2)
        fault = stage.simulator.faults.add(Fault(name=name, probability=0.5, count=6))
        yield
        stage.simulator.faults.remove(fault)

    return injury


LONG: dict[str, Injury] = {
    "partition keys that are no session": _keys_that_are_no_session,
    "malformed entries of the session list": _malformed_sessions,
    "malformed clips, one beyond int64": _malformed_clips,
    "a test that was deleted": _deleted_test,
    "wrong secret": _wrong_secret,
    "outage": _faults("server_error:status=503", "reset:operation=media", "server_error:operation=token"),
    "no connection": _faults("reset", "reset:operation=token"),
    "storm: another client uses up the budget": _used_up_by_another_client,
    "hostile names": _hostile_names,
    "bodies that are no video": _bodies_that_are_no_video,
    "dead links": _dead_links,
    "two more runs on one session": _runs_on_one_session,
    "a machine that sleeps": _sleeping_machine,
    "full disk": _full_disk,
}
"""Injuries that last for the better part of an hour of the schedule."""
SHORT: dict[str, Injury] = {f"{name.value} by chance": _by_name(name) for name in FaultName if name not in NOT_BY_NAME}
"""The faults of the matrix, one after the other, beside the long ones."""


@contextmanager
def injured(injury: Injury, stage: Stage) -> Iterator[None]:
    """An injury for as long as the block lasts."""
    with contextmanager(injury)(stage):
        yield
