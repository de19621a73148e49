"""What an export takes, keeps, removes and refuses; that it goes on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ut_clips_dagster.errors import ClipsError, SettingsError
from ut_clips_dagster.export.target import HOME, JOURNAL
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster_tests.cli.commands import invoke
from ut_clips_dagster_tests.gallery.archive import Clip, Session

from .archive import SESSIONS, STORED, files, fill, run

FORMATS = ("videofolder", "webdataset", "page")
CLIP_OF_SECOND = SESSIONS[1].clips[0]


def names(target: Path) -> list[str | None]:
    return sorted(pq.read_table(target / "metadata.parquet")["clip_name"].to_pylist())


def mp4s(target: Path) -> set[str]:
    return {path for path in files(target) if path.endswith(".mp4")}


@pytest.mark.parametrize("kind", FORMATS)
def test_again_writes_nothing_and_after_a_change_only_what_changed(
    tmp_path: Path, store: LocalStore, kind: str
) -> None:
    archive = fill(store)
    first = run(store, tmp_path / "x", kind, shard_bytes=1)
    times = {path: (tmp_path / "x" / path).stat().st_mtime_ns for path in files(tmp_path / "x")}
    again = run(store, tmp_path / "x", kind, shard_bytes=1)
    same = {
        path
        for path, at in times.items()
        if path.startswith("clips") and (tmp_path / "x" / path).stat().st_mtime_ns == at
    }
    new = Session(9, [Clip("new")])
    archive.add(new)
    store.update_document(f"sessions/{new.id}/clip_files.json", lambda _: b"{}")
    more = run(store, tmp_path / "x", kind, shard_bytes=1)

    assert [(r.clips, r.sessions, r.copied, r.removed) for r in (first, again, more)] == [
        (STORED, 3, STORED, 0),
        (STORED, 3, 0, 0),
        (STORED + 1, 4, 1, 0),
    ]
    assert same == {path for path in times if path.startswith("clips")}
    assert not first.left_out


@pytest.mark.parametrize("kind", FORMATS)
def test_a_session_that_is_gone_leaves_nothing_in_the_export(tmp_path: Path, store: LocalStore, kind: str) -> None:
    archive = fill(store)
    gone = SESSIONS[1]
    run(store, tmp_path / "x", kind)
    (Path(store.uri) / "sessions" / gone.id / "clip_files.json").unlink()  # its rows are still there

    report = run(store, tmp_path / "x", kind)

    assert (report.clips, report.left_out) == (STORED - 2, {})
    holds = [path for path in (tmp_path / "x").rglob("*") if path.is_file() and gone.id.encode() in path.read_bytes()]
    assert not holds
    assert not [path for path in (tmp_path / "x").rglob("*") if gone.id in str(path)]
    archive.metadata.replace(SESSIONS[0].id, as_rows(archive.metadata.schema, []))
    assert run(store, tmp_path / "x", kind).clips == 1


def test_a_session_that_goes_while_it_is_exported_is_taken_out_again(
    tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    read = store.read

    def forgetting(path: str) -> object:
        if SESSIONS[1].id in path:
            (Path(store.uri) / "sessions" / SESSIONS[1].id / "clip_files.json").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(store, "read", forgetting)
    for kind in ("videofolder", "webdataset"):
        store.update_document(f"sessions/{SESSIONS[1].id}/clip_files.json", lambda _: b"{}")
        assert run(store, tmp_path / kind, kind).clips == STORED - 2
        assert not [
            path
            for path in (tmp_path / kind).rglob("*.*")
            if path.is_file() and SESSIONS[1].id.encode() in path.read_bytes()
        ]
        assert not [path for path in (tmp_path / kind).rglob("*") if SESSIONS[1].id in str(path)]


def test_where_is_a_condition_over_the_view_and_never_reaches_clips_that_are_not_stored(
    tmp_path: Path, store: LocalStore
) -> None:
    fill(store)
    conditions = {
        "words > 2": 1,
        "text ilike '%there%' -- and a remark": 1,
        "session_id in (select session_id from clip_media)": 3,
        "status = 'ERROR' or true": STORED,
        "true union all select * from clips": STORED,
        "false": 0,
    }
    for number, (where, clips) in enumerate(conditions.items()):
        assert run(store, tmp_path / str(number), "videofolder", where).clips == clips, where
        assert "failed" not in names(tmp_path / str(number))


@pytest.mark.parametrize(
    "where", ["nonsense = 1", "true; drop view clips", "text = (select content from read_text('/etc/passwd'))"]
)
def test_a_wrong_condition_is_one_message(
    tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    fill(store, SESSIONS[:1])
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", store.uri)
    code, output = invoke("export", str(tmp_path / "x"), "--where", where)
    assert code == 1
    assert "Traceback" not in output
    assert not files(tmp_path / "x") if (tmp_path / "x").exists() else True


def test_missing_and_damaged_files_are_left_out_and_told(
    tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = fill(store)
    session = SESSIONS[0]
    missing, damaged = (Path(store.uri) / archive.path(session, clip) for clip in session.clips[:2])
    missing.unlink()
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", store.uri)
    for kind in FORMATS:
        code, output = invoke("export", str(tmp_path / kind), "--format", kind)
        told = " ".join(output.split())
        assert code == 2, output
        assert (
            f"Left out: clip {session.clips[0].uuid} of session {session.id}: its file is not in the archive." in told
        )
        assert f"Left out: clip {session.clips[1].uuid} of session {session.id}: its file is damaged" in told
        assert f"{STORED - 2} clips of 3 sessions" in told
        held = [
            p for p in (tmp_path / kind).rglob("*") if p.is_file() and session.clips[1].uuid.encode() in p.read_bytes()
        ]
        assert not held
        archive.store.put_clip(
            archive.path(session, session.clips[0]), [archive.content(session.clips[0])], "video/mp4"
        )
        assert run(store, tmp_path / kind, kind).clips == STORED - 1
        missing.unlink()


def test_what_is_not_of_the_export_is_neither_overwritten_nor_removed(tmp_path: Path, store: LocalStore) -> None:
    archive = fill(store)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty, and no export"):
        run(store, tmp_path / "full", "videofolder")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]

    run(store, tmp_path / "x", "videofolder", "words > 2")
    mine = tmp_path / "x" / "clips" / "mine.mp4"
    mine.write_text("mine")
    foreign = tmp_path / "x" / archive.path(SESSIONS[0], SESSIONS[0].clips[0])
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine, too")
    with pytest.raises(SettingsError, match="is not of this export"):
        run(store, tmp_path / "x", "videofolder")
    run(store, tmp_path / "x", "videofolder", "false")
    assert mp4s(tmp_path / "x") == {path.relative_to(tmp_path / "x").as_posix() for path in (mine, foreign)}
    assert (mine.read_text(), foreign.read_text()) == ("mine", "mine, too")


def test_journal_that_leads_elsewhere_is_refused(tmp_path: Path, store: LocalStore) -> None:
    fill(store, SESSIONS[:1])
    run(store, tmp_path / "x", "videofolder")
    (tmp_path / "thesis.txt").write_text("mine")
    with (tmp_path / "x" / HOME / JOURNAL).open("a") as journal:
        journal.write(json.dumps({"path": "../thesis.txt"}) + "\n")
    with pytest.raises(ClipsError, match="outside the export"):
        run(store, tmp_path / "x", "videofolder", "false")
    assert (tmp_path / "thesis.txt").exists()


def test_another_format_and_places_that_cannot_be_exported_into_are_refused(tmp_path: Path, store: LocalStore) -> None:
    fill(store, SESSIONS[:1])
    run(store, tmp_path / "x", "videofolder")
    (tmp_path / "file").write_text("")
    for target, kind, message in (
        (tmp_path / "x", "page", "is an export as videofolder, not as page"),
        (tmp_path / "file", "page", "is a file"),
        (Path(store.uri), "page", "is in the archive"),
        (Path(store.uri) / "clips" / "x", "page", "is in the archive"),
        (tmp_path, "page", "or around it"),
    ):
        with pytest.raises(SettingsError, match=message):
            run(store, target, kind)
    with pytest.raises(SettingsError, match="--link needs"):
        run(store, tmp_path / "y", "webdataset", link=True)


def test_a_changed_file_is_written_anew(tmp_path: Path, store: LocalStore) -> None:
    archive = fill(store)
    run(store, tmp_path / "x", "videofolder")
    changed = tmp_path / "x" / archive.path(SESSIONS[1], CLIP_OF_SECOND)
    changed.write_bytes(b"edited")
    assert run(store, tmp_path / "x", "videofolder").copied == 1
    assert changed.read_bytes() == archive.content(CLIP_OF_SECOND)


def test_link_gives_clips_a_second_name_and_removing_it_leaves_the_archive_whole(
    tmp_path: Path, store: LocalStore
) -> None:
    archive = fill(store)
    path = archive.path(SESSIONS[1], CLIP_OF_SECOND)
    run(store, tmp_path / "x", "videofolder", link=True)
    assert (tmp_path / "x" / path).samefile(Path(store.uri) / path)
    run(store, tmp_path / "x", "videofolder", "false", link=True)
    assert (mp4s(tmp_path / "x"), (Path(store.uri) / path).read_bytes()) == (set(), archive.content(CLIP_OF_SECOND))
    run(store, tmp_path / "y", "videofolder")
    assert not (tmp_path / "y" / path).samefile(Path(store.uri) / path)


@pytest.mark.parametrize("kind", ["videofolder", "webdataset"])
def test_an_archive_in_a_bucket_is_streamed(tmp_path: Path, store: LocalStore, gcs_store: GcsStore, kind: str) -> None:
    """By the rows of a directory with the same content: delta-rs would hold the lock that the emulator here needs."""
    fill(store)
    archive = fill(gcs_store, SESSIONS[:0])
    for session in SESSIONS:
        for clip in session.clips:
            if clip.status == "STORED":
                gcs_store.put_clip(archive.path(session, clip), [archive.content(clip)], "video/mp4")
        gcs_store.update_document(f"sessions/{session.id}/clip_files.json", lambda _: b"{}")
    from ut_clips_dagster.cli.sql_engine import connected
    from ut_clips_dagster.export.report import Order
    from ut_clips_dagster.export.selection import selecting
    from ut_clips_dagster.export.work import export

    with connected(store.uri, selecting("")) as connection:
        order = Order(tmp_path / "x", shard_bytes=1)
        report = export(connection, gcs_store, kind, order, lambda _c, _b: lambda _more_c, _more_b: None)
    assert (report.clips, report.left_out) == (STORED, {})
    run(store, tmp_path / "y", kind, shard_bytes=1)
    clips = {path for path in files(tmp_path / "y") if path.endswith((".mp4", ".tar"))}
    assert len(clips) == STORED
    assert {path: (tmp_path / "x" / path).read_bytes() for path in clips} == {
        path: (tmp_path / "y" / path).read_bytes() for path in clips
    }


@pytest.mark.parametrize(
    ("kind", "signals"), [("videofolder", signal.SIGKILL), ("webdataset", signal.SIGKILL), ("page", signal.SIGTERM)]
)
def test_killed_at_any_time_it_goes_on(tmp_path: Path, store: LocalStore, kind: str, signals: signal.Signals) -> None:
    sessions = [Session(day, [Clip(f"{day} {n}", start_ms=n) for n in range(40)]) for day in range(5)]
    fill(store, sessions)
    target, options = tmp_path / "x", ("--shard-mb", "1")
    command = [
        sys.executable,
        "-c",
        "from ut_clips_dagster.cli import app; app()",
        "export",
        str(target),
        "--format",
        kind,
    ]
    environment = {**os.environ, "UT_CLIPS_ARCHIVE": store.uri}
    with subprocess.Popen(
        [*command, *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as it:
        while not any(target.glob(f"{HOME}/parts/*")) and not any(target.glob("clips*")):
            assert it.poll() is None
            time.sleep(0.001)
        it.send_signal(signals)
        _, complaints = it.communicate(timeout=60)
    assert it.returncode in ({130, 0} if signals == signal.SIGTERM else {-signals}), complaints
    assert b"Traceback" not in complaints
    assert not (target / "metadata.parquet").exists() or it.returncode == 0

    assert run(store, target, kind, shard_bytes=10**6).clips == 200

    whole = tmp_path / "whole"
    run(store, whole, kind, shard_bytes=10**6)
    assert {path: (target / path).read_bytes() for path in files(target) if path.startswith("clips")} == {
        path: (whole / path).read_bytes() for path in files(whole) if path.startswith("clips")
    }
    assert files(target) == files(whole)
    assert not list((target / HOME / "parts").iterdir())
