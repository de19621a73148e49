"""`ut-clips status`: what is unfinished, why, and when it is tried again; with Dagster and without."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from dagster import AssetMaterialization, DagsterInstance
from dagster._core.scheduler.instigation import SensorInstigatorData

from ut_clips_dagster.sensors.unfinished_sessions import Cursor, Tries
from ut_clips_dagster.simulator import SimulatorServer
from ut_clips_dagster_tests.cli.commands import invoke
from ut_clips_dagster_tests.cli.test_health import sensor_state


def status(code: int) -> dict[str, object]:
    exit_code, output = invoke("status", "--json")
    assert exit_code == code, output
    answer = json.loads(output)
    assert isinstance(answer, dict)
    return answer


def one_unlisted(simulator: SimulatorServer) -> str:
    bad = simulator.world.sessions()[0].session_id
    simulator.faults.add(f"forbidden:operation=list_clips,session_id={bad}")
    assert invoke("archive")[0] == 2
    return bad


def remember(home: Path, session_id: str, tries: Tries) -> None:
    """What the sensor remembers of a session."""
    cursor = Cursor(sessions={session_id: tries}).model_dump_json()
    with DagsterInstance.from_config(str(home)) as instance:
        state = sensor_state("unfinished_sessions").with_data(SensorInstigatorData(cursor=cursor))
        instance.add_instigator_state(state)


def test_a_session_that_was_never_listed_has_its_reason_and_the_exit_code_is_2(simulator: SimulatorServer) -> None:
    bad = one_unlisted(simulator)

    (session,) = status(2)["unfinished_sessions"]  # type: ignore[misc]

    assert (session["session_id"], session["listed"], session["retries_left"]) == (bad, False, None)
    assert f"answered 403 for the clips of session {bad}" in session["reason"]


def test_a_test_that_cannot_be_read_any_more_is_told_since_when_and_why(archived: SimulatorServer) -> None:
    archived.faults.add("forbidden:operation=list_sessions")
    assert invoke("archive")[0] == 2

    code, output = invoke("status")

    assert code == 0  # of what is known nothing is unfinished
    told = " ".join(output.split())
    assert f"Test {archived.world.test_ids[0]} is not read since 20" in told
    assert "answered 403" in told
    assert "Its new sessions are not known here." in told


def test_the_time_of_the_next_try_and_the_tries_left_are_told(simulator: SimulatorServer, tmp_path: Path) -> None:
    bad = one_unlisted(simulator)
    since = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
    remember(tmp_path / "home", bad, Tries(retries=1, since=since))

    (session,) = status(2)["unfinished_sessions"]  # type: ignore[misc]

    assert (session["retries_left"], session["next_try"]) == (3, (since + timedelta(hours=1)).isoformat())
    assert "unfinished; retries left: 3, the next at 2026-11-25T13:00 UTC" in " ".join(invoke("status")[1].split())


def test_a_session_given_up_says_so_and_is_unhealthy(simulator: SimulatorServer, tmp_path: Path) -> None:
    bad = one_unlisted(simulator)
    remember(tmp_path / "home", bad, Tries(retries=4, since=datetime(2026, 11, 20, tzinfo=timezone.utc)))

    (session,) = status(2)["unfinished_sessions"]  # type: ignore[misc]

    assert (session["retries_left"], session["next_try"]) == (0, None)
    assert "given up after all retries" in " ".join(invoke("status")[1].split())
    code, output = invoke("health", "--json")
    assert (code, [f["key"] for f in json.loads(output)["findings"]]) == (1, ["given_up"])
    assert invoke("health", "--given-up", "1")[0] == 0


@pytest.mark.usefixtures("archived")
def test_a_session_found_without_a_partition_is_unfinished(tmp_path: Path) -> None:
    """A daemon that died between the event and the partition leaves one."""
    found = "00000000-0000-4000-8000-000000000009"
    with DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        instance.report_runless_asset_event(AssetMaterialization("usertesting_sessions", partition=found))

    (session,) = status(2)["unfinished_sessions"]  # type: ignore[misc]

    assert session["session_id"] == found
    assert "without a partition" in session["reason"]


def test_without_an_instance_the_archive_itself_speaks_and_none_is_created(
    simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = one_unlisted(simulator)
    shutil.rmtree(tmp_path / "home")
    monkeypatch.delenv("DAGSTER_HOME")

    answer = status(2)
    text = " ".join(invoke("status")[1].split())

    assert (answer["dagster"], answer["sessions"], answer["archived"]) == (False, 4, 3)
    assert [s["session_id"] for s in answer["unfinished_sessions"]] == [bad]  # type: ignore[attr-defined]
    assert "There is no Dagster instance in" in text
    assert "all is archived" not in text
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("simulator")
def test_an_empty_archive_without_an_instance_is_not_called_archived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "home")
    monkeypatch.delenv("DAGSTER_HOME")

    code, output = invoke("status")

    assert code == 0
    assert "no session was found yet" in output
    assert "all is archived" not in output
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.usefixtures("archived")
def test_an_archive_that_is_gone_is_an_error_and_not_archived(tmp_path: Path) -> None:
    shutil.move(tmp_path / "archive", tmp_path / "elsewhere")

    code, output = invoke("status")

    assert (code, "Is it mounted" in output) == (1, True), output


@pytest.mark.usefixtures("simulator")
def test_dagster_home_is_read_from_the_env_file_and_a_tilde_is_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, place in (("DAGSTER_HOME", "~/home"), ("UT_CLIPS_ARCHIVE", "~/archive")):
        monkeypatch.delenv(name)
        with (tmp_path / ".env").open("a") as file:
            file.write(f"{name}={place}\n")

    assert invoke("archive")[0] == 0
    assert (tmp_path / "home" / "history" / "runs.db").exists()
    assert (tmp_path / "archive" / "clip_metadata").exists()
    assert not (tmp_path / "~").exists()
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert status(0)["archived"] == 4
    for command in (("sql", "select 1"), ("verify",), ("health",)):
        assert invoke(*command)[0] == 0


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize("name", ["DAGSTER_HOME", "UT_CLIPS_ARCHIVE"])
def test_a_home_of_nobody_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "~nobody-of-that-name/x")

    code, output = invoke("status")

    assert (code, name in output, "names no home directory" in output) == (1, True, True), output


@pytest.mark.usefixtures("archived")
def test_a_broken_database_is_told_without_a_stack_trace(tmp_path: Path) -> None:
    (tmp_path / "home" / "history" / "runs.db").write_bytes(b"no database" * 1000)

    code, output = invoke("status")

    assert (code, "Traceback" in output) == (1, False)
    assert "cannot be opened" in output
