"""One message when something is no longer well, one when it is again, none in between; to a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.health.alerts import CLAIM
from ut_clips_dagster.health.delivery import STATE, AlertMemory, check_urls, send
from ut_clips_dagster.health.findings import Finding
from ut_clips_dagster.storage.local import LocalStore

START = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
LOST = Finding("discovery:credentials", "No session is found any more.", START, "Set the credentials right.")
FULL = Finding("space:the archive", "Only 3 MiB are free.", None, "Make room.")


class Receiver:
    """What Apprise posts to; answers with `status`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 200:
                    receiver.messages.append(json.loads(content))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:t0ken@127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def memory(tmp_path: Path) -> AlertMemory:
    return AlertMemory(LocalStore(tmp_path / "archive"), tmp_path / "spare")


def look(memory: AlertMemory, minute: float, *findings: Finding, urls: list[str]) -> list[str]:
    return send(memory, urls, findings, "/archive", START + timedelta(minutes=minute))


def test_one_message_when_it_begins_one_when_it_is_well_again_none_in_between(
    memory: AlertMemory, receiver: Receiver
) -> None:
    urls = [receiver.url]
    for minute in range(3, 60, 3):
        look(memory, minute, LOST, urls=urls)
    assert len(receiver.messages) == 1
    for minute in range(60, 120, 3):
        look(memory, minute, urls=urls)

    bad, good = receiver.messages
    assert bad["title"] == "ut-clips: not well (/archive)"
    assert LOST.what in bad["message"]
    assert "Since 2026-11-25 12:00 UTC. To do: Set the credentials right." in bad["message"]
    assert good["title"] == "ut-clips: well again (/archive)"
    assert f"Well again: {LOST.what}" in good["message"]
    assert "All is well." in good["message"]


def test_what_passes_by_itself_is_not_told(memory: AlertMemory, receiver: Receiver) -> None:
    for minute in range(0, 60, 1):
        look(memory, minute, *([FULL] if minute % 5 == 0 else []), urls=[receiver.url])

    assert receiver.messages == []


def test_what_comes_and_goes_is_told_once_and_well_again_once_it_stays_away(
    memory: AlertMemory, receiver: Receiver
) -> None:
    for minute in range(60):
        look(memory, minute, *([] if minute % 10 == 9 else [FULL]), urls=[receiver.url])
    assert len(receiver.messages) == 1

    for minute in range(60, 80):
        look(memory, minute, urls=[receiver.url])
    assert [m["title"].split(" (")[0] for m in receiver.messages] == ["ut-clips: not well", "ut-clips: well again"]
    assert [m["type"] for m in receiver.messages] == ["failure", "success"]


def test_another_finding_is_told_while_the_first_is_there(memory: AlertMemory, receiver: Receiver) -> None:
    look(memory, 5, LOST, urls=[receiver.url])
    look(memory, 6, LOST, FULL, urls=[receiver.url])
    look(memory, 9, LOST, FULL, urls=[receiver.url])

    assert [LOST.what in m["message"] for m in receiver.messages] == [True, False]
    for minute in (20, 31):
        look(memory, minute, FULL, urls=[receiver.url])
    assert "1 other finding remains" in receiver.messages[-1]["message"]


def test_a_failed_delivery_is_shown_and_tried_again_and_others_are_told_once(
    memory: AlertMemory, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as broken:
        broken.status = 500
        urls = [broken.url, receiver.url]

        assert look(memory, 5, LOST, urls=urls) == ["alert URL 1 (json://)"]
        assert look(memory, 6, LOST, urls=urls) == ["alert URL 1 (json://)"]
        (failing,) = memory.failing(urls, START)
        assert (failing.name, failing.since) == ("alert URL 1 (json://)", START + timedelta(minutes=5))

        broken.status = 200
        assert look(memory, 7, LOST, urls=urls) == []
        assert memory.failing(urls, START) == []
        assert (len(broken.messages), len(receiver.messages)) == (1, 1)

    state = (tmp_path / "archive" / STATE).read_text()
    assert "t0ken" not in caplog.text + state
    assert "127.0.0.1" not in caplog.text + state


def test_it_is_not_told_to_a_receiver_that_it_could_not_be_told(memory: AlertMemory, receiver: Receiver) -> None:
    undelivered = Finding("alerts:alert URL 1 (json://)", "Alerts cannot be delivered.", START, "Check them.")

    look(memory, 5, undelivered, urls=[receiver.url])

    assert receiver.messages == []


def test_two_processes_tell_it_once_and_a_killed_one_is_stood_in_for(memory: AlertMemory, receiver: Receiver) -> None:
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr("ut_clips_dagster.health.delivery.deliver", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            look(memory, 5, LOST, urls=[receiver.url])

    look(memory, 5.5, LOST, urls=[receiver.url])
    assert receiver.messages == [], "the other one may be about to tell it"
    look(memory, 5 + CLAIM.total_seconds() / 60, LOST, urls=[receiver.url])
    look(memory, 9, LOST, urls=[receiver.url])
    assert len(receiver.messages) == 1


def test_an_archive_that_cannot_be_written_is_told_once_all_the_same(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "archive").write_text("a file where a directory should be")
    memory = AlertMemory(LocalStore(tmp_path / "archive"), tmp_path / "spare")

    for minute in (5, 6, 7):
        look(memory, minute, LOST, urls=[receiver.url])
    assert len(receiver.messages) == 1

    (tmp_path / "archive").unlink()
    for minute in (8, 9, 20, 21):
        look(memory, minute, urls=[receiver.url])
    assert len(receiver.messages) == 2
    assert (tmp_path / "archive" / STATE).exists()


def test_the_services_of_systemd_share_what_was_told(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "archive").write_text("a file where a directory should be")
    for minute, temporary in enumerate(("one", "another", "a third", "a fourth")):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / temporary))
        look(AlertMemory(LocalStore(tmp_path / "archive")), minute, LOST, FULL, urls=[receiver.url])

    (message,) = receiver.messages
    assert FULL.what in message["message"], "the first of them saw it two minutes before"


def test_what_can_be_remembered_nowhere_is_told_and_says_so(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("archive", "spare"):
        (tmp_path / place).write_text("a file where a directory should be")
    memory = AlertMemory(LocalStore(tmp_path / "archive"), tmp_path / "spare")

    for minute in (5, 15):
        assert look(memory, minute, LOST, FULL, urls=[receiver.url]) == []

    for message in receiver.messages:
        assert LOST.what in message["message"]
        assert FULL.what in message["message"]
        assert "cannot be remembered" in message["message"]
    assert len(receiver.messages) == 2
    assert "cannot be remembered" in caplog.text


def test_nothing_is_written_below_an_empty_mount_point_and_each_outage_is_told(
    tmp_path: Path, receiver: Receiver
) -> None:
    disk, place = tmp_path / "disk", tmp_path / "archive"
    gone = Finding("archive", "The archive holds no table.", None, "Mount it.")

    def looks(*minutes: int, mounted: bool) -> None:
        store = LocalStore(disk if mounted else place)
        problem = "" if mounted else gone.what
        memory = AlertMemory(store, tmp_path / "spare", archive_problem=problem)
        for minute in minutes:
            look(memory, minute, *([] if mounted else [gone]), urls=[receiver.url])

    for minute in (0, 1, 2):  # as it was done once, and is still there
        look(AlertMemory(LocalStore(place), tmp_path / "none"), minute, gone, urls=[receiver.url])
    receiver.messages.clear()
    before = (place / STATE).read_bytes()
    for hour in (0, 60):
        looks(hour, hour + 3, hour + 6, mounted=False)
        looks(hour + 9, hour + 20, hour + 30, mounted=True)

    assert [m["type"] for m in receiver.messages] == ["failure", "success"] * 2
    assert (place / STATE).read_bytes() == before


def test_a_url_that_apprise_does_not_understand_is_named_by_its_place_only() -> None:
    check_urls(["json://127.0.0.1/ok"])

    with pytest.raises(SettingsError) as caught:
        check_urls(["json://127.0.0.1/ok", "nonsense://t0ken@host"])

    assert "alert URL 2 (nonsense://)" in str(caught.value)
    assert "t0ken" not in str(caught.value)
