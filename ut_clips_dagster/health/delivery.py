"""Delivers alerts through Apprise, and remembers in the archive what was told."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ut_clips_dagster.archive.records import seal, unseal
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.errors import SettingsError, StorageError
from ut_clips_dagster.health import alerts
from ut_clips_dagster.health.alerts import AlertState, Message, Target
from ut_clips_dagster.health.facts import Waiting
from ut_clips_dagster.health.findings import Finding
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.store import Store

STATE = "health/alerts.json"

log = logging.getLogger(__name__)


class AlertMemory:
    """What was told, in the archive, where the sensor and `ut-clips health --alert` both see it.

    An archive that cannot be written (a full disk) is what has to be told, once: then it is remembered in a directory
    of its own below RUNTIME_DIRECTORY (systemd's) or for temporary files, and copied there from then on.
    """

    def __init__(self, store: Store, spare: Path | None = None, *, archive_problem: str = "") -> None:
        """What was told, for one look.

        Args:
            store: the archive's.
            spare: where it is remembered when the archive cannot be written.
            archive_problem: see `Facts`: then nothing is read or written there, as it may be an empty mount point.
        """
        self._stores: tuple[Store, ...] = (store, LocalStore(spare or _spare_of(store)))
        self._is_archive_there = not archive_problem

    def read(self, now: datetime) -> AlertState:
        """The newest state that can be read; an empty one when none can."""
        found = []
        for store in self._stores if self._is_archive_there else self._stores[1:]:
            with suppress(StorageError):
                found.append(_parse(store.read_document(STATE)))
        return max(found, key=lambda state: _looked_at(state, now), default=AlertState())

    def update(self, update: Callable[[AlertState], AlertState], now: datetime) -> None:
        """Replace the state, atomically against other processes.

        Raises:
            StorageError: it can be remembered nowhere.
        """
        newest = self.read(now)

        def apply(content: bytes | None) -> bytes:
            present = _parse(content)
            older = _looked_at(present, now) < _looked_at(newest, now)
            return seal(update(newest if older else present).model_dump_json(indent=1).encode())

        archive, spare = self._stores
        written = None
        with suppress(StorageError):
            written = archive.update_document(STATE, apply) if self._is_archive_there else None
        if written is None:
            spare.update_document(STATE, apply)
            return
        copied = written
        with suppress(StorageError):  # else the next outage would go by what was told in the last one
            if spare.read_document(STATE) is not None:
                spare.update_document(STATE, lambda _: copied)

    def failing(self, urls: Sequence[str], now: datetime) -> list[Waiting]:
        """The receivers that could not be told."""
        targets = self.read(now).targets
        known = ((name_of(number, url), targets.get(id_of(url))) for number, url in enumerate(urls, start=1))
        return [Waiting(name, t.failing_since) for name, t in known if t and t.failing_since]


def send(
    memory: AlertMemory, urls: Sequence[str], findings: Sequence[Finding], archive: str, now: datetime
) -> list[str]:
    """Tell each receiver what it has to be told; returns the names of those that could not be.

    What can be remembered nowhere is told all the same, at each look: better twice than never.
    """
    failed = []
    for number, url in enumerate(urls, start=1):
        name = name_of(number, url)
        relevant = [f for f in findings if f.key != f"alerts:{name}"]  # it cannot be told that it is not told
        try:
            due = _claim(memory, id_of(url), relevant, archive, now)
        except StorageError as error:
            log.warning("What is told cannot be remembered, and is told again at the next look: %s", error)
            due = _unremembered(memory, id_of(url), relevant, archive, now)
        if due is None:
            continue
        done = deliver(url, due)
        with suppress(StorageError):  # it was warned of
            _note(memory, id_of(url), due, now, done=done)
        if not done:
            failed.append(name)
            log.warning("An alert cannot be delivered to %s; it is tried again.", name)
    return failed


def deliver(url: str, message: Message) -> bool:
    """Send one message; False when it did not arrive."""
    import apprise  # half a second to import

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs URLs, and they hold tokens
    receiver = apprise.Apprise()
    kind = apprise.NotifyType.SUCCESS if message.well_again else apprise.NotifyType.FAILURE  # a colour, a severity
    return bool(receiver.add(url) and receiver.notify(body=message.body, title=message.title, notify_type=kind))


def check_urls(urls: Sequence[str]) -> None:
    """Raise SettingsError naming, by its number only, each alert URL that Apprise does not understand."""
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    wrong = [name_of(n, url) for n, url in enumerate(urls, start=1) if not apprise.Apprise.instantiate(url)]
    if wrong:
        raise SettingsError(f"UT_CLIPS_ALERT_URLS: Apprise does not understand {', '.join(wrong)}.")


def name_of(number: int, url: str) -> str:
    """What may be shown of an alert URL: its place and its scheme."""
    scheme = url.split("://", maxsplit=1)[0] if "://" in url else ""
    return f"alert URL {number} ({scheme[:20]}://)" if scheme.isalnum() else f"alert URL {number}"


def id_of(url: str) -> str:
    """A receiver's name in the state: not the URL, which holds tokens."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _claim(
    memory: AlertMemory, target_id: str, findings: Sequence[Finding], archive: str, now: datetime
) -> Message | None:
    """Note what is seen; the message to deliver, unless there is none or another process is about to deliver it."""
    due: list[Message | None] = [None]

    def update(state: AlertState) -> AlertState:
        before = state.targets.get(target_id, Target())
        target = alerts.look(before, findings, now)
        due[0] = None if before.is_claimed(now) else alerts.message(target, findings, archive, now)
        if due[0]:
            target = target.model_copy(update={"claimed_until": now + alerts.CLAIM})
        return _with(state, target_id, target, now)

    memory.update(update, now)
    return due[0]


def _unremembered(
    memory: AlertMemory, target_id: str, findings: Sequence[Finding], archive: str, now: datetime
) -> Message | None:
    """The message to deliver when nothing can be noted: at once, as nobody would know later what was seen now."""
    before = memory.read(now).targets.get(target_id, Target())
    lasting = [replace(finding, since=finding.since or now - alerts.SETTLED_AFTER) for finding in findings]
    due = alerts.message(alerts.look(before, lasting, now), findings, archive, now)
    again = "That this was told cannot be remembered: it is told again at the next look."
    return replace(due, body=f"{due.body}\n\n{again}") if due else None


def _note(memory: AlertMemory, target_id: str, message: Message, now: datetime, *, done: bool) -> None:
    def update(state: AlertState) -> AlertState:
        before = state.targets.get(target_id, Target())
        after = alerts.delivered(before, message.keys) if done else alerts.undelivered(before, now)
        return _with(state, target_id, after, now)

    memory.update(update, now)


def _with(state: AlertState, target_id: str, target: Target, now: datetime) -> AlertState:
    return state.model_copy(update={"looked_at": now, "targets": {**state.targets, target_id: target}})


def _looked_at(state: AlertState, now: datetime) -> float:
    """When a state was written, in Unix seconds; 0 for one that lies ahead, or it would be the newest for long."""
    return state.looked_at.timestamp() if state.looked_at and not is_future(state.looked_at, now) else 0.0


def _spare_of(store: Store) -> Path:
    """A directory that all on this machine share, and that lasts: of systemd's, as its PrivateTmp is each service's."""
    top = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or tempfile.gettempdir()
    return Path(top) / f"ut_clips_{hashlib.sha256(store.uri.encode()).hexdigest()[:12]}"


def _parse(content: bytes | None) -> AlertState:
    try:
        return AlertState() if content is None else AlertState.model_validate_json(unseal(content))
    except ValueError:
        return AlertState()
