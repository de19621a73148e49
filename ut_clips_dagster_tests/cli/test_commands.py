"""The commands, on a real simulator, a real Dagster instance on disk and a real archive."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, RunsFilter
from typer.testing import CliRunner

from ut_clips_dagster.archive.records import Inspection, SessionRecords
from ut_clips_dagster.cli import app
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.simulator import Operation, SimulatorServer, media_file
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster_tests.waiting import without_waiting

ARCHIVING = RunsFilter(job_name="archive_clips")
UNKNOWN_TEST_ID = "00000000-0000-4000-8000-000000000000"
UNKNOWN_TEST = (
    f"The Results API answered 404 for the sessions of test {UNKNOWN_TEST_ID}. It is unknown, deleted, or of a product "
    "without video clips. Correct this test ID in USERTESTING_TEST_IDS, or remove it there."
)
MEDIA_AND_TOKENS = (Operation.MEDIA, Operation.TOKEN)
ASSETS = ("usertesting_sessions", "clip_list", "clip_urls", "clip_files", "clip_metadata")


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.output


def archived_files(root: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (root / "archive" / "clips").rglob("*.mp4")}


@pytest.mark.usefixtures("transcripts")
def test_archive_stores_every_clip_records_every_partition_and_asks_nothing_twice(
    simulator: SimulatorServer, tmp_path: Path
) -> None:
    code, output = invoke("archive")

    assert (code, "4 of 4 sessions archived: 6 clips" in output) == (0, True), output
    world = simulator.world
    expected = {
        clip.clip_uuid: media_file(world.render(clip)).read()
        for session in world.sessions()
        for clip in world.clips(session.session_id)
    }
    assert archived_files(tmp_path) == expected
    keys = {session.session_id for session in world.sessions()}
    with DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        for name in ASSETS:
            assert set(instance.get_materialized_partitions(AssetKey(name))) == keys
    ideal = 1 + len(keys) + 2 * len(expected)
    transcripts = simulator.requests.count(Operation.GET_TRANSCRIPT)
    assert transcripts == sum(bool(world.clips(session_id)) for session_id in keys)
    assert simulator.requests.api_count() - transcripts <= ideal + 2

    simulator.requests.clear()
    code, output = invoke("archive")

    assert (code, "nothing to do" in output) == (0, True), output
    assert simulator.requests.count(Operation.GET_CLIP) == simulator.requests.count(Operation.MEDIA) == 0

    code, output = invoke("verify", "--read-data")
    assert (code, "documents, objects and rows agree" in output) == (0, True), output

    code, output = invoke("sql", "select count(*) as n, min(status) as s from clip_metadata", "--format", "json")
    assert (code, json.loads(output)) == (0, [{"n": 6, "s": "STORED"}])

    code, output = invoke("status", "--json")
    status = json.loads(output)
    assert (status["sessions"], status["archived"], status["clips"]) == (4, 4, {"STORED": 6})


def test_archive_finds_what_a_run_left_that_did_not_end_well_however_old_the_session(
    archived: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions listed more than 30 days after their end are passed over, but not where a run listed a new clip."""
    long_ago = datetime.now(timezone.utc) - timedelta(days=60)
    old = archived.world.add_session(clips=1, finished_at=long_ago).session_id
    assert invoke("archive", "--session", old)[0] == 0
    new = archived.world.add_clip(old).clip_uuid
    code, output = invoke("archive")
    assert (code, "nothing to do" in output) == (0, True), "it is settled: nobody asks for late clips"

    with monkeypatch.context() as broken:
        broken.setattr(MetadataTable, "replace", lambda *_: (_ for _ in ()).throw(StorageError("The disk is full.")))
        code, output = invoke("archive", "--session", old)
    assert (code, "The disk is full." in output) == (2, True)
    assert new not in archived_files(tmp_path)

    code, output = invoke("archive")
    assert code == 0, output
    assert new in archived_files(tmp_path)
    assert invoke("verify")[0] == 0


def test_archive_exits_2_and_names_what_is_unfinished_and_the_rest_is_archived(
    simulator: SimulatorServer,
) -> None:
    bad = next(s.session_id for s in simulator.world.sessions() if simulator.world.clips(s.session_id))
    simulator.faults.add(f"clip_error:session_id={bad}")

    code, output = invoke("archive")

    assert code == 2
    assert "3 of 4 sessions archived" in output
    assert bad in output
    assert "answered ERROR after attempt 3 of 3" in " ".join(output.split())
    code, output = invoke("status", "--json")
    status = json.loads(output)
    assert [s["session_id"] for s in status["unfinished_sessions"]] == [bad]
    assert status["unfinished_sessions"][0]["clips"][0]["status"] == "ERROR"
    assert status["rest"]["requests"] > 0

    simulator.faults.clear()
    simulator.requests.clear()
    code, output = invoke("archive")
    assert code == 0
    assert {entry.session_id for entry in simulator.requests.entries(Operation.GET_CLIP)} == {bad}


def test_archive_of_one_session_archives_only_that(simulator: SimulatorServer, tmp_path: Path) -> None:
    session = next(s.session_id for s in simulator.world.sessions() if simulator.world.clips(s.session_id))

    code, _ = invoke("archive", "--session", session.upper())

    assert code == 0
    assert set(archived_files(tmp_path)) == {clip.clip_uuid for clip in simulator.world.clips(session)}


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("name", "value", "fragment"),
    [
        ("USERTESTING_CLIENT_SECRET", "wrong-secret", "USERTESTING_CLIENT_SECRET"),
        ("USERTESTING_TEST_IDS", UNKNOWN_TEST_ID, UNKNOWN_TEST),
        ("USERTESTING_TEST_IDS", "nonsense", "USERTESTING_TEST_IDS"),
        ("USERTESTING_API_URL", "http://127.0.0.1:1", "cannot be reached"),
        ("UT_CLIPS_ARCHIVE", "/proc/nowhere", "UT_CLIPS_ARCHIVE"),
    ],
)
def test_what_cannot_run_exits_1_with_one_clear_message_and_no_stack_trace(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, fragment: str
) -> None:
    without_waiting(monkeypatch)
    monkeypatch.setenv(name, value)

    code, output = invoke("archive")

    assert code == 1
    assert fragment in " ".join(output.split())
    assert "Traceback" not in output
    assert "wrong-secret" not in output


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize("command", ["status", "plan", "verify"])
def test_commands_that_ask_the_api_nothing_need_no_credentials(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name in ("USERTESTING_CLIENT_ID", "USERTESTING_CLIENT_SECRET", "USERTESTING_TEST_IDS"):
        monkeypatch.delenv(name)

    code, output = invoke(command)

    assert code == 0, output


def test_archive_of_scattered_sessions_archives_none_between_them(simulator: SimulatorServer) -> None:
    sessions = [session.session_id for session in simulator.world.sessions()]

    code, output = invoke("archive", "--session", sessions[0], "--session", sessions[2])

    assert code == 0, output
    listed = [entry.session_id for entry in simulator.requests.entries(Operation.LIST_CLIPS)]
    assert sorted(listed) == sorted([sessions[0], sessions[2]])


def test_archive_spans_a_short_gap_of_complete_sessions_and_no_long_one(
    simulator: SimulatorServer, tmp_path: Path
) -> None:
    for _ in range(6):
        simulator.world.add_session(clips=1)
    newest_first = [session.session_id for session in simulator.world.sessions()]
    for session_id in (newest_first[0], newest_first[2], newest_first[7]):
        simulator.faults.add(f"clip_error:session_id={session_id}")
    assert invoke("archive")[0] == 2
    simulator.faults.clear()
    simulator.requests.clear()

    assert invoke("archive")[0] == 0

    listed = {entry.session_id for entry in simulator.requests.entries(Operation.LIST_CLIPS)}
    assert listed == {*newest_first[:3], newest_first[7]}
    with DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert instance.get_runs_count(ARCHIVING) == 3


def test_a_session_that_is_no_uuid_is_refused_before_any_request(simulator: SimulatorServer) -> None:
    code, output = invoke("archive", "--session", "abc")

    assert code == 1
    assert "'abc' is not a UUID" in output
    assert simulator.requests.api_count() == 0


@pytest.mark.usefixtures("simulator")
def test_sql_explains_a_wrong_query() -> None:
    code, output = invoke("sql", "select nonsense from clip_metadata")

    assert code == 1
    assert "nonsense" in output
    assert "Traceback" not in output


@pytest.mark.usefixtures("simulator")
def test_sql_prints_csv_of_an_empty_archive() -> None:
    code, output = invoke("sql", "select session_id, size_bytes from clip_metadata", "--format", "csv")

    assert (code, output) == (0, "session_id,size_bytes\n")


def test_sql_reads_the_archive_and_nothing_else(archived: SimulatorServer, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")

    code, output = invoke("sql", "select count(distinct session_id) > 0 as found, count(*) as n from clip_metadata")
    refused, reason = invoke("sql", f"select * from read_csv('{tmp_path / 'secret.csv'}')")

    assert (code, "True" in output, "6" in output) == (0, True, True), output
    assert (refused, "Permission" in reason) == (1, True), reason
    assert archived.requests.api_count() == 0


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("sql", ("dagster", "pandas")),
        ("status", ("dagster_gcp", "google.cloud", "ut_clips_dagster.definitions")),
    ],
)
def test_commands_that_only_read_import_little(module: str, unwanted: tuple[str, ...]) -> None:
    """A person waits for them: Dagster takes a second to import, dagster-gcp another two."""
    code = f"import sys, ut_clips_dagster.cli.{module}; print(*(n for n in {unwanted} if n in sys.modules))"

    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert answer.stdout.split() == []


@pytest.mark.usefixtures("transcripts")
def test_plan_tells_what_new_sessions_will_cost() -> None:
    code, output = invoke("plan", "--sessions", "100", "--json")

    answer = json.loads(output)
    assert code == 0
    assert answer == {"sessions": 100, "clips": 300, "requests": 800, "duration_s": 4794.0, "transcripts": 100}


@pytest.mark.usefixtures("transcripts")
def test_transcripts_cost_what_plan_says_and_no_clip_waits_for_one(
    simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With transcripts and without, all clips' requests come first; saturated, it is `benchmarks.transcripts`."""

    def asked() -> list[tuple[str, str | None, str | None]]:
        entries = simulator.requests.entries()
        return [(e.operation.value, e.session_id, e.clip_uuid) for e in entries if e.operation not in MEDIA_AND_TOKENS]

    monkeypatch.setenv("UT_CLIPS_TRANSCRIPTS", "off")
    invoke("archive")
    without = asked()
    simulator.requests.clear()
    monkeypatch.setenv("UT_CLIPS_TRANSCRIPTS", "on")
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / "other"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "other_home"))
    code, output = invoke("archive")
    with_them = asked()

    assert code == 0, output
    assert not [entry for entry in without if entry[0] == "get_transcript"]
    kinds = [entry[0] for entry in with_them]
    first = kinds.index("get_transcript")
    assert set(kinds[first:]) == {"get_transcript"}, "a transcript is asked for before a clip"
    with_clips = [s.session_id for s in simulator.world.sessions() if simulator.world.clips(s.session_id)]
    assert sorted(str(entry[1]) for entry in with_them[first:]) == sorted(with_clips)
    assert kinds[:first].count("list_clips") == [entry[0] for entry in without].count("list_clips") == 4
    assert kinds[:first].count("get_clip") >= 6
    code, output = invoke("sql", "select count(*) as n from clips where words is not null", "--format", "json")
    stored = sum(len(simulator.world.clips(s)) for s in with_clips if simulator.world.transcript(s))
    assert json.loads(output) == [{"n": stored}]
    assert json.loads(invoke("plan", "--json")[1])["requests"] == 0


@pytest.mark.parametrize(
    "command", ["demo", "archive", "status", "health", "check-settings", "plan", "sql", "verify", "repair", "simulator"]
)
def test_every_command_explains_itself(command: str) -> None:
    code, output = invoke(command, "--help")

    assert code == 0
    assert "Usage" in output


def test_every_command_refuses_an_archive_that_is_not_mounted(archived: SimulatorServer, tmp_path: Path) -> None:
    """What is below an empty mount point is hidden once it is mounted, and has Dagster take it for the archive."""
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    (tmp_path / "archive").mkdir()
    archived.requests.clear()

    for command in (
        ("archive",), ("repair",), ("verify",), ("sql", "select 1"), ("export", "target"), ("status",), ("plan",),
    ):  # fmt: skip
        code, output = invoke(*command)
        assert (code, "Is it mounted" in output) == (1, True), (command, output)
    assert not archived.requests.entries()
    code, output = invoke("check-settings")
    assert (code, "Archive: write: failed: The archive" in output) == (1, True), output
    assert list((tmp_path / "archive").iterdir()) == []
    assert not (tmp_path / "target").exists()


def test_archive_says_why_a_session_could_not_even_be_listed(simulator: SimulatorServer) -> None:
    bad = simulator.world.sessions()[0].session_id
    simulator.faults.add(f"forbidden:operation=list_clips,session_id={bad}")

    code, output = invoke("archive")

    assert code == 2
    assert f"The Results API answered 403 for the clips of session {bad}" in " ".join(output.split())
    assert "3 of 4 sessions archived" in output


def test_verify_beside_a_run_tells_nothing_that_the_run_made_meanwhile(
    archived: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = max(session.session_id for session in archived.world.sessions())
    inspect, archived_meanwhile = SessionRecords.inspect, []

    def inspect_late(self: SessionRecords, session_id: str) -> Inspection:
        if not archived_meanwhile:  # after the tables were read
            archived.world.add_clip(last)
            archived.world.add_clip(archived.world.add_session().session_id)
            archived_meanwhile.append(invoke("archive", "--session", last)[0] + invoke("archive")[0])
        return inspect(self, session_id)

    monkeypatch.setattr(SessionRecords, "inspect", inspect_late)

    assert invoke("verify", "--read-data")[0] == 0
    assert archived_meanwhile == [0]
