"""`ut-clips check-settings` tries everything, with a request for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.simulator import DEMO_TEST_ID, Operation, SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster_tests.cli.commands import invoke
from ut_clips_dagster_tests.waiting import without_waiting

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def trying_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


def test_all_is_tried_with_one_request_a_test_and_nothing_is_left(simulator: SimulatorServer, tmp_path: Path) -> None:
    code, output = invoke("check-settings")

    assert code == 0, output
    for line in (
        "Settings: ok: complete, 1 test",
        "DAGSTER_HOME: ok",
        "Token: ok",
        f"Test {DEMO_TEST_ID}: ok: 4 sessions",
        "Archive: write: ok",
        "Archive: store a clip: ok",
        "Archive: commit to a Delta table: ok",
        "Archive: read clip_metadata: ok",
        "requests of the budget used: 1",
    ):
        assert line in output
    assert simulator.requests.api_count() == simulator.requests.count(Operation.LIST_SESSIONS) == 1
    assert [p for p in (tmp_path / "archive").rglob("*") if p.is_file()] == []


def test_a_wrong_secret_is_told_and_no_test_is_asked(
    simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERTESTING_CLIENT_SECRET", "wr0ng-s3cret")

    code, output = invoke("check-settings")

    assert (code, "Token: failed: The token endpoint" in output) == (1, True), output
    assert "Tests: not asked" in output
    assert "Archive: write: ok" in output
    assert "wr0ng-s3cret" not in output
    assert simulator.requests.api_count() == 0


def test_each_test_has_its_line(simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERTESTING_TEST_IDS", f"{UNKNOWN},{DEMO_TEST_ID}")

    code, output = invoke("check-settings")

    assert code == 1
    assert f"Test {UNKNOWN}: failed: The Results API answered 404" in output
    assert f"Test {DEMO_TEST_ID}: ok" in output
    assert simulator.requests.api_count() == 2


def test_an_api_that_does_not_answer_is_not_asked_for_every_test(
    simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERTESTING_TEST_IDS", f"{DEMO_TEST_ID},{UNKNOWN}")
    simulator.faults.add("server_error:operation=list_sessions")

    code, output = invoke("check-settings")

    assert (code, "Tests: not asked: 1 more" in output) == (1, True), output
    assert simulator.requests.api_count() <= 5


def test_a_busy_budget_is_no_fault_of_the_settings(simulator: SimulatorServer) -> None:
    simulator.faults.add("rate_limited:operation=list_sessions")

    code, output = invoke("check-settings")

    assert (code, "Tests: not asked: 1 of them" in output) == (0, True), output
    assert simulator.requests.api_count() == 1


@pytest.mark.usefixtures("simulator")
def test_an_archive_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", "/proc/nowhere")

    code, output = invoke("check-settings")

    assert (code, "Archive: write: failed: Cannot write to /proc/nowhere" in output) == (1, True), output


@pytest.mark.usefixtures("simulator")
def test_a_place_where_clips_cannot_be_stored_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = StorageError("Cannot store here: hard links are refused.")
    monkeypatch.setattr(LocalStore, "put_clip", lambda *_: (_ for _ in ()).throw(refusing))

    code, output = invoke("check-settings")

    assert (code, "Archive: store a clip: failed: Cannot store here" in output) == (1, True), output


@pytest.mark.usefixtures("simulator")
def test_a_wrong_proxy_and_a_wrong_alert_url_are_told_without_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:s3cret@127.0.0.1:99999")
    monkeypatch.setenv("UT_CLIPS_ALERT_URLS", "nonsense://t0ken@host")

    code, output = invoke("check-settings")

    assert code == 1
    assert "Results API: failed: HTTP_PROXY names no HTTP proxy" in output
    assert "UT_CLIPS_ALERT_URLS: failed: UT_CLIPS_ALERT_URLS: Apprise does not understand alert URL 1" in output
    assert "s3cret" not in output
    assert "t0ken" not in output


@pytest.mark.usefixtures("simulator")
def test_a_dagster_home_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/proc/nowhere")

    code, output = invoke("check-settings")

    assert (code, output.startswith("DAGSTER_HOME /proc/nowhere cannot be used")) == (1, True), output
