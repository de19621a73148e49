"""`ut-clips health`, on a real archive and real Dagster instances on disk."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from ut_clips_dagster.cli.platform import INSTANCE_CONFIG
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorServer
from ut_clips_dagster_tests.cli.commands import give_away, invoke, invoke_as_a_reader, take_back
from ut_clips_dagster_tests.health.test_alerts import receiving


def keys(output: str) -> list[str]:
    return [finding["key"] for finding in json.loads(output)["findings"]]


def sensor_state(name: str, status: InstigatorStatus = InstigatorStatus.RUNNING) -> InstigatorState:
    target = LoadableTargetOrigin(module_name="ut_clips_dagster.definitions")
    repository = RemoteRepositoryOrigin(ManagedGrpcPythonEnvCodeLocationOrigin(target), "__repository__")
    data = SensorInstigatorData(last_tick_timestamp=time.time(), min_interval=60)
    return InstigatorState(RemoteInstigatorOrigin(repository, name), InstigatorType.SENSOR, status, data)


@pytest.mark.usefixtures("simulator")
def test_an_archive_that_was_just_filled_is_well(tmp_path: Path) -> None:
    assert invoke("archive")[0] == 0

    code, output = invoke("health")

    assert (code, "All is well" in output) == (0, True), output
    assert f"Test {DEMO_TEST_ID}: last read" in output
    assert "4 sessions" in output
    facts = json.loads(invoke("health", "--json")[1])
    assert facts["healthy"] is True
    assert 0 <= facts["discovery_age_s"][DEMO_TEST_ID] < 300
    assert {space["what"] for space in facts["spaces"]} == {"the archive", "DAGSTER_HOME"}
    assert str(tmp_path) in facts["archive"]


@pytest.mark.usefixtures("archived")
def test_lost_access_is_found_wherever_it_was_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERTESTING_CLIENT_SECRET", "wr0ng-s3cret")
    assert invoke("archive")[0] == 1

    code, output = invoke("health", "--json")

    assert (code, keys(output)) == (1, ["discovery:credentials"])
    assert "wr0ng-s3cret" not in output
    assert "gave no token" in invoke("health")[1]


@pytest.mark.usefixtures("archived")
def test_without_a_dagster_instance_it_says_so_judges_the_archive_and_creates_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "home")
    monkeypatch.delenv("DAGSTER_HOME")

    code, output = invoke("health")

    assert (code, "There is no Dagster instance in" in output, "All is well" in output) == (0, True, True), output
    assert not (tmp_path / "home").exists()
    assert not (tmp_path / ".dagster").exists()


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        (None, b"", "is not there"),
        ("", b"", "is no directory"),
        ("dagster.yaml", b"{", "cannot be read"),
        ("dagster.yaml", b"\xff", "is not UTF-8"),
        ("history/runs.db", b"", "runs.db is empty"),
    ],
)
def test_a_home_that_is_named_and_broken_is_a_finding_and_status_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None, content: bytes, told: str
) -> None:
    """Without credentials, and with an archive that is gone as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / "archive"))
    if file is not None:
        place = tmp_path / "home" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    code, output = invoke("health", "--json")
    assert (code, keys(output)) == (1, ["archive", "instance"]), output
    (tmp_path / "archive").mkdir()
    code, output = invoke("health")
    assert (code, "Nothing was ever read here" in output, told in output) == (1, True, True), output
    code, output = invoke("status")
    assert (code, told in output) == (1, True), output


@pytest.mark.usefixtures("simulator")
def test_what_was_never_read_is_a_finding(tmp_path: Path) -> None:
    assert keys(invoke("health", "--json")[1]) == ["archive"], "it is not there yet"
    (tmp_path / "archive").mkdir()

    code, output = invoke("health", "--json")

    assert (code, keys(output)) == (1, ["discovery:silent"])


@pytest.mark.usefixtures("archived")
def test_a_dead_daemon_and_a_sensor_switched_off_are_found(tmp_path: Path) -> None:
    with DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        daemons = instance.get_required_daemon_types()
        for kind in daemons:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), kind, "one"))
        for name in ("late_clips", "follow_clip_media", "old_runs", "follow_clip_transcripts"):
            instance.add_instigator_state(sensor_state(name, InstigatorStatus.STOPPED))
    # pruning may be cron's; the transcripts, and their sensor of earlier, are off by the settings
    assert keys(invoke("health", "--json")[1]) == ["sensor:late_clips:off", "sensor:follow_clip_media:off"]

    with DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        for kind in daemons:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 3600, kind, "one"))
    code, output = invoke("health", "--json")
    assert (code, keys(output)) == (1, ["daemon"])
    assert invoke("health", "--heartbeat-age", "2h", "--json")[0] == 1, "the sensor is still off"


@pytest.mark.usefixtures("archived")
def test_an_archive_that_is_gone_is_a_finding_and_no_stack_trace(tmp_path: Path) -> None:
    shutil.move(tmp_path / "archive", tmp_path / "elsewhere")

    code, output = invoke("health")

    assert code == 1
    assert "NOT WELL: The archive" in output
    assert "Is it mounted" in output


@pytest.mark.usefixtures("archived")
def test_a_broken_instance_is_a_finding_and_no_stack_trace(tmp_path: Path) -> None:
    (tmp_path / "home" / "history" / "runs.db").write_bytes(b"no database" * 1000)

    code, output = invoke("health", "--json")

    assert (code, keys(output)) == (1, ["instance"])


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--free", "2"), "--free '2' is no number with one of the units k, m, g, t"),
        (("--queued", "2G"), "--queued '2G' is no number with one of the units s, m, h, d"),
        (("--discovery-age", "36501d"), "--discovery-age '36501d' is too long: give at most 36500d"),
        (("--tick-age", "999999999.999999999d"), "--tick-age '999999999.999999999d' is too long"),
        (("--alert",), "UT_CLIPS_ALERT_URLS is not set"),
    ],
)
def test_wrong_options_are_explained(arguments: tuple[str, ...], message: str) -> None:
    code, output = invoke("health", *arguments)

    assert (code, message in output, "Traceback" in output) == (1, True, False), output


@pytest.mark.usefixtures("archived")
def test_alert_tells_it_once_and_a_failed_delivery_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ut_clips_dagster.health.alerts.SETTLED_AFTER", timedelta(0))
    with receiving() as receiver:
        monkeypatch.setenv("UT_CLIPS_ALERT_URLS", receiver.url)
        assert invoke("health", "--alert")[0] == 0
        receiver.status = 500
        code, output = invoke("health", "--alert", "--free", "999999T")
        assert (code, "NOT TOLD: alert URL 1 (json://)" in output) == (1, True), output
        assert "t0ken" not in output
        assert "alerts:alert URL 1 (json://)" in keys(invoke("health", "--json")[1])
        receiver.status = 200
        for _ in range(3):
            assert invoke("health", "--alert", "--free", "999999T")[0] == 1

        (message,) = receiver.messages
        assert "are free where the archive is" in message["message"]


def test_who_may_only_read_can_run_status_health_sql_and_verify_and_writes_nothing(
    simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = next(s.session_id for s in simulator.world.sessions() if simulator.world.clips(s.session_id))
    simulator.faults.add(f"forbidden:operation=list_clips,session_id={bad}")
    assert invoke("archive")[0] == 2
    for name in ("USERTESTING_CLIENT_ID", "USERTESTING_CLIENT_SECRET", "USERTESTING_TEST_IDS"):
        monkeypatch.delenv(name)
    places = (tmp_path / "archive", tmp_path / "home")

    with others_files(*places):
        before = sorted(path for place in places for path in place.rglob("*"))
        status, health, sql, verify, _ = invoke_as_a_reader(
            "status --json", "health", "sql 'select count(*) > 0 as some from clip_metadata'", "verify", "repair"
        )
        assert sorted(path for place in places for path in place.rglob("*")) == before

    (unfinished,) = json.loads(status[1])["unfinished_sessions"]
    assert (status[0], unfinished["session_id"], unfinished["listed"]) == (2, bad, False)
    assert "answered 403" in unfinished["reason"]
    assert (health[0], "All is well" in health[1]) == (0, True), health[1]
    assert (sql[0], "True" in sql[1]) == (0, True), sql[1]
    assert verify[0] == 2, "a session is not listed"

    with closing(sqlite3.connect(tmp_path / "home" / "history" / "runs.db")) as daemon:
        daemon.execute("select count(*) from runs").fetchall()
        assert (tmp_path / "home" / "history" / "runs.db-shm").exists()
        with others_files(*places):
            assert invoke_as_a_reader("status --json") == [status], "while a daemon has the databases open"


@contextmanager
def others_files(*places: Path) -> Iterator[None]:
    for place in places:
        give_away(place)
    try:
        yield
    finally:
        for place in places:
            take_back(place)


def test_the_shipped_configuration_keeps_its_data_below_dagster_home() -> None:
    """Else a read-only user's copy of the databases would miss them."""
    assert "storage:" not in INSTANCE_CONFIG.read_text()
