"""`ut-clips archive` looks at the clips it has stored; what goes wrong there is told, and decides nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.media.session_media import MediaMaker
from ut_clips_dagster.simulator import SimulatorServer
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster_tests.cli.test_commands import invoke


def materialized(home: Path) -> set[str]:
    with DagsterInstance.from_config(str(home)) as instance:
        return set(instance.get_materialized_partitions(AssetKey("clip_media")))


def test_archive_looks_at_the_clips_and_status_tells_what_is_wrong(simulator: SimulatorServer, tmp_path: Path) -> None:
    world = simulator.world
    with_clips = [s.session_id for s in world.sessions() if world.clips(s.session_id)]
    clip = world.clips(with_clips[0])[0]
    simulator.faults.add(f"no_video:clip_uuid={clip.clip_uuid}")

    code, output = invoke("archive")
    assert code == 0
    assert f"clip_media: {len(with_clips)} sessions." in output
    assert materialized(tmp_path / "home") >= set(with_clips)
    assert len(MediaTable(str(tmp_path / "archive")).read()) == 6
    assert invoke("verify", "--read-data")[0] == 0

    status = json.loads(invoke("status", "--json")[1])
    assert (status["unfinished"], status["clips"]) == (0, {"STORED": 6})
    (problem,) = status["media_problems"]
    assert problem == f"Session {with_clips[0]}: clip {clip.clip_uuid}: The file holds no video."

    _, output = invoke("archive")
    assert "clip_media" not in output  # nothing is lacking


@pytest.mark.usefixtures("simulator")
def test_its_failure_is_told_and_changes_no_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise StorageError("the disk is on fire.")

    with monkeypatch.context() as broken:
        broken.setattr(MediaMaker, "make", fails)
        code, output = invoke("archive")
    assert code == 0, output
    assert "the disk is on fire." in output
    assert materialized(tmp_path / "home") == set()

    monkeypatch.setattr(MediaTable, "paths", fails)
    code, output = invoke("archive")
    assert code == 0, output
    assert "clip_media: the disk is on fire." in output


def test_one_session_named_is_looked_at_alone(simulator: SimulatorServer, tmp_path: Path) -> None:
    world = simulator.world
    session_id = next(s.session_id for s in world.sessions() if world.clips(s.session_id))
    assert invoke("archive", "--session", session_id)[0] == 0
    assert materialized(tmp_path / "home") == {session_id}


@pytest.mark.usefixtures("simulator")
def test_ctrl_c_while_clips_are_looked_at_ends_the_command_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr(MediaMaker, "make", interrupted)
        code, output = invoke("archive")
    assert code == 130, output
    assert "run the command again to go on" in output
    assert invoke("archive")[0] == 0
    assert len(MediaTable(str(tmp_path / "archive")).read()) == 6
