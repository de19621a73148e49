"""One bad thing harms only itself: a key, an entry, a clip, a test, a document. The commands do the rest and say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ut_clips_dagster.archive.documents import Cut
from ut_clips_dagster.archive.records import seal
from ut_clips_dagster.cli import app
from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import open_instance
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.simulator import DEMO_TEST_ID, Clip, Fault, FaultName, Operation, SimulatorConfig, SimulatorServer
from ut_clips_dagster_tests.waiting import without_waiting

GONE = "00000000-0000-4000-8000-00000000dead"
FAILING = "00000000-0000-4000-8000-00000000beef"
NO_SESSIONS = ["typed by hand", "3FA85F64-5717-4562-B3FC-2C963F66AFA6", "../../etc/passwd", "x" * 300, "[red]a'b"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    monkeypatch.chdir(tmp_path)
    without_waiting(monkeypatch)
    config = SimulatorConfig(
        sessions=0, rate_limit=100_000, generation_s=0.01, test_ids=(DEMO_TEST_ID, FAILING), clips_total=0
    )
    with SimulatorServer(config) as server:
        settings = {
            **server.environment,
            "UT_CLIPS_ARCHIVE": str(tmp_path / "archive"),
            "UT_CLIPS_POLL_INTERVAL_S": "0.02",
            "DAGSTER_HOME": str(tmp_path / "home"),
            "COLUMNS": "300",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def add(server: SimulatorServer, clips: int = 1, test_id: str = DEMO_TEST_ID) -> tuple[str, list[Clip]]:
    session = server.world.add_session(clips=clips, test_id=test_id).session_id
    return session, list(server.world.clips(session))


def stored(root: Path) -> set[str]:
    return {path.stem for path in (root / "archive" / "clips").rglob("*.mp4")}


def replaced(at: str, value: str | None, operation: Operation, session_id: str | None = None) -> Fault:
    return Fault(name=FaultName.REPLACED, operation=operation, at=at, value=value, session_id=session_id)


def test_keys_that_are_no_session_are_named_and_stop_no_command(server: SimulatorServer) -> None:
    sessions = [add(server)[0] for _ in range(2)]
    with open_instance() as instance:
        instance.add_dynamic_partitions(SESSIONS, [sessions[0], *NO_SESSIONS, sessions[1]])

    code, output = invoke("archive")

    assert code == 0, output
    assert output.count("is no session: a key must be the session's UUID in lower case") == len(NO_SESSIONS)
    assert "Delete the partition" in output
    code, output = invoke("archive")
    assert (code, "All 2 sessions are archived" in output) == (0, True), output
    status = json.loads(invoke("status", "--json")[1])
    assert (status["sessions"], status["archived"], status["unfinished"]) == (2, 2, 0)
    assert status["no_sessions"] == NO_SESSIONS
    assert "'typed by hand' is no session" in invoke("status")[1]
    for command in (["plan"], ["verify"], ["repair"]):
        assert invoke(*command)[0] == 0, command


def test_a_malformed_clip_is_told_by_every_command_until_it_is_corrected(
    server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, clips = add(server, clips=2)
    _, (neighbour,) = add(server)
    server.faults.add(replaced("clips.0.timeEndMs", "9" * 30, Operation.LIST_CLIPS, session))
    told = f"UserTesting's list is malformed at the entry {clips[0].clip_uuid}: timeEndMs: the number is beyond"

    code, output = invoke("archive")
    assert (code, told in output) == (2, True), output
    assert stored(tmp_path) == {clips[1].clip_uuid, neighbour.clip_uuid}
    monkeypatch.setattr(console, "width", 500)  # else the table breaks the line
    code, output = invoke("verify", "--read-data")
    assert (code, told in output) == (2, True), output
    status = json.loads(invoke("status", "--json")[1])
    assert [s["session_id"] for s in status["unfinished_sessions"]] == [session]
    assert told in status["unfinished_sessions"][0]["clips"][0]["error"]
    code, output = invoke("repair", "--session", session)
    assert (code, told in output) == (2, True), output

    server.faults.clear()
    server.requests.clear()
    assert invoke("archive")[0] == 0
    assert {e.clip_uuid for e in server.requests.entries(Operation.GET_CLIP)} == {clips[0].clip_uuid}
    assert stored(tmp_path) == {clip.clip_uuid for clip in (*clips, neighbour)}
    code, output = invoke("verify", "--read-data")
    assert code == 0, output


def test_malformed_entries_of_a_session_list_are_told_and_found_once_they_are_corrected(
    server: SimulatorServer, tmp_path: Path
) -> None:
    clips = [add(server)[1][0] for _ in range(3)]
    newest = server.world.sessions()[0].session_id
    server.faults.add(replaced("sessions.0.startTime", "null", Operation.LIST_SESSIONS))

    code, output = invoke("archive")

    assert code == 2, output
    assert f"Test {DEMO_TEST_ID}: UserTesting's list is malformed at the entry {newest}: startTime" in output
    assert stored(tmp_path) == {clip.clip_uuid for clip in clips[:2]}
    server.faults.clear()
    code, output = invoke("archive")
    assert code == 0, output
    assert stored(tmp_path) == {clip.clip_uuid for clip in clips}


@pytest.mark.parametrize("fault", ["", "server_error"])
def test_one_test_of_several_that_cannot_be_read_does_not_stop_the_others(
    server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The deleted test is the first of the list; with a fault, an existing one answers nothing but that."""
    session, (clip,) = add(server)
    monkeypatch.setenv("USERTESTING_TEST_IDS", f"{GONE},{DEMO_TEST_ID}")
    expected = f"404 for the sessions of test {GONE}"
    if fault:
        monkeypatch.setenv("USERTESTING_TEST_IDS", f"{FAILING},{DEMO_TEST_ID}")
        attempts = 5 if fault == "server_error" else 1
        server.faults.add(f"{fault}:operation=list_sessions,count={attempts}")
        expected = f"for the sessions of test {FAILING}"

    code, output = invoke("archive")

    assert (code, expected in output) == (2, True), output
    assert stored(tmp_path) == {clip.clip_uuid}
    if not fault:
        another, (its_clip,) = add(server)
        code, output = invoke("archive", "--session", another)
        assert (code, expected in output) == (2, True), output
        assert its_clip.clip_uuid in stored(tmp_path)
        assert invoke("archive", "--session", session)[0] == 0, "a known session needs no discovery"


def test_documents_with_numbers_that_no_column_holds_are_repaired(server: SimulatorServer, tmp_path: Path) -> None:
    """An earlier version wrote them, and every command ended in OverflowError from then on."""
    session, (clip,) = add(server)
    _, (neighbour,) = add(server)
    assert invoke("archive")[0] == 0
    folder = tmp_path / "archive" / "sessions" / session
    for name in ("clip_list", "clip_urls", "clip_files"):
        path = folder / f"{name}.json"
        document = json.loads(path.read_bytes())
        del document["sha256"]
        document["clips" if name != "clip_files" else "files"][0]["cut"]["time_end_ms"] = 10**30
        path.write_bytes(seal(json.dumps(document, indent=1).encode()))

    code, output = invoke("archive")
    assert (code, f"ut-clips repair --session {session}" in output) == (2, True), output
    code, output = invoke("verify")
    assert (code, "document damaged" in output) == (2, True), output
    code, output = invoke("repair", "--session", session)
    assert code == 0, output
    assert invoke("verify", "--read-data")[0] == invoke("archive")[0] == 0
    assert stored(tmp_path) == {clip.clip_uuid, neighbour.clip_uuid}


def test_a_number_beyond_64_bits_in_a_document_is_damage() -> None:
    with pytest.raises(ValueError, match="less than or equal to 9223372036854775807"):
        Cut(time_start_ms=0, time_end_ms=2**63)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.999Z"])
def test_a_session_at_the_edge_of_time_is_archived_like_any_other(
    server: SimulatorServer, tmp_path: Path, moment: str
) -> None:
    _, (clip,) = add(server)
    server.faults.add(replaced("sessions.0.finishTime", f'"{moment}"', Operation.LIST_SESSIONS))

    code, output = invoke("archive")

    assert code == 0, output
    assert stored(tmp_path) == {clip.clip_uuid}
    assert invoke("verify", "--read-data")[0] == invoke("archive")[0] == invoke("status")[0] == 0
