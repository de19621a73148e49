"""Whatever is changed in the archive, `verify` finds it, and the command it names repairs it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ut_clips_dagster.archive.records import DOCUMENTS
from ut_clips_dagster.storage.metadata_table import SCHEMA

from .damaged_archive import DamagedArchive, another_value

KINDS_OF_DAMAGE = ("flip", "truncate", "delete")
ONE_OF_THEM_LATER = ("flip", pytest.param("truncate", marks=pytest.mark.long), "delete")
SOME = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(SOME, max_examples=2)


def damage(path: Path, kind: str, position: float = 0.5, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    index = min(int(position * len(content)), len(content) - 1)
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(content[:index])
    else:
        content[index] ^= mask
        path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS_OF_DAMAGE)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_damaged_document_is_found_and_rebuilt_without_a_request(bench: DamagedArchive, name: str, kind: str) -> None:
    before = bench.record(bench.rich)
    damage(bench.document(bench.rich, name), kind)
    assert {d.session_id for d in bench.found_and_repaired()} == {bench.rich}
    after = bench.record(bench.rich)
    assert bench.server.requests.count() == 0
    assert after.clip_list == before.clip_list
    assert before.session
    assert after.session
    kept = {"test_id", "status", "started_at", "finished_at"}
    assert after.session.model_dump(include=kept) == before.session.model_dump(include=kept)
    assert before.clip_list
    for clip in before.clip_list.clips:
        assert after.clip_files.of(clip) == before.clip_files.of(clip)
        generations = before.clip_urls.of(clip), after.clip_urls.of(clip)
        assert len({(g.attempts, g.waited_s) for g in generations if g}) == 1


@SOME
@given(
    name=st.sampled_from(list(DOCUMENTS)),
    kind=st.sampled_from(("flip", "truncate")),
    position=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_any_byte_of_any_document_matters(
    made: DamagedArchive, name: str, kind: str, position: float, mask: int
) -> None:
    made.put_back()
    damage(made.document(made.plain, name), kind, position, mask)
    assert {d.kind for d in made.found_and_repaired()} == {"document damaged"}
    assert made.server.requests.count() == 0
    made.assert_present_cuts_are_right()


def test_session_of_which_all_documents_are_gone_is_rebuilt_from_its_rows(bench: DamagedArchive) -> None:
    before = bench.record(bench.plain)
    shutil.rmtree(bench.document(bench.plain, "session").parent)
    assert {d.kind for d in bench.found_and_repaired()} == {"document missing"}
    after = bench.record(bench.plain)
    assert bench.asked_for() <= {file.clip_uuid for file in before.clip_files.files}
    assert after.clip_list
    assert before.clip_list
    assert [c.clip_uuid for c in after.clip_list.clips] == [c.clip_uuid for c in before.clip_list.clips]
    bench.assert_present_cuts_are_right()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_damaged_document_is_repaired_where_the_rows_are_lost_too(bench: DamagedArchive, name: str) -> None:
    damage(bench.document(bench.plain, name), "flip")
    bench.overwrite_rows(lambda rows: rows[rows["session_id"] != bench.plain])
    bench.found_and_repaired()
    bench.assert_present_cuts_are_right()
    assert (bench.record(bench.plain).session is None) == (name == "session")


@pytest.mark.parametrize("kind", ONE_OF_THEM_LATER)
def test_damaged_clip_is_found_and_fetched_anew_beside_it(bench: DamagedArchive, kind: str) -> None:
    path = bench.object(bench.rich, bench.clip)
    damage(path, kind)
    left = path.read_bytes() if path.exists() else None
    bench.found_and_repaired()
    assert bench.asked_for() == {bench.clip}
    bench.assert_present_cuts_are_right()
    if left is not None:
        assert path.read_bytes() == left
        assert "which is no harm" in bench.run("verify")[1]


@pytest.mark.long
@FEW
@given(position=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_any_byte_of_a_clip_matters(made: DamagedArchive, position: float, mask: int) -> None:
    made.put_back()
    damage(made.object(made.plain, made.server.world.clips(made.plain)[0].clip_uuid), "flip", position, mask)
    assert [d.kind for d in made.found_and_repaired()] == ["object differs"]
    made.assert_present_cuts_are_right()


@pytest.mark.parametrize("which", ["deleted", "recut"])
def test_damaged_file_that_cannot_be_fetched_anew_is_given_up_and_named(bench: DamagedArchive, which: str) -> None:
    clip_uuid = getattr(bench, which)
    files = [f for f in bench.record(bench.rich).clip_files.files if f.clip_uuid == clip_uuid]
    damage(bench.root / files[0].storage_path, "flip")
    (difference,) = bench.differences()
    code, output = bench.run(*difference.repair.removeprefix("ut-clips ").split())
    assert code == 0
    assert f"clip {clip_uuid}" in output
    assert "cannot be fetched anew" in output
    assert bench.run("verify", "--read-data")[0] == 0
    assert bench.server.requests.count() == 0
    bench.assert_present_cuts_are_right()


ONE_OF_EACH_TYPE = ("session_id", "clip_uuid", "time_end_ms", "has_audio", "error", "downloaded_at")
EVERY_COLUMN = [c if c in ONE_OF_EACH_TYPE else pytest.param(c, marks=pytest.mark.long) for c in SCHEMA.names]


@pytest.mark.parametrize("column", EVERY_COLUMN)
def test_changed_value_is_found_and_repaired(bench: DamagedArchive, column: str) -> None:
    before = bench.table.read()
    bench.overwrite_rows(lambda rows: another_value(column, rows))
    bench.found_and_repaired()
    assert bench.server.requests.count() == 0
    assert sorted_rows(bench.table.read()).equals(sorted_rows(before))


ROWS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one deleted": lambda rows: rows.iloc[1:],
    "all deleted": lambda rows: rows.iloc[:0],
    "one twice": lambda rows: pd.concat([rows, rows.iloc[:1]], ignore_index=True),
    "all twice": lambda rows: pd.concat([rows, rows], ignore_index=True),
    "one without a session": lambda rows: rows.assign(session_id=[pd.NA, *rows["session_id"].iloc[1:]]).astype(
        {"session_id": "string"}
    ),
    "one of an unknown session": lambda rows: rows.assign(session_id=[str(uuid.uuid4()), *rows["session_id"].iloc[1:]]),
    "one of the other session": lambda rows: rows.assign(
        session_id=[rows["session_id"].iloc[-1], *rows["session_id"].iloc[1:-1], rows["session_id"].iloc[0]]
    ),
}


@pytest.mark.parametrize("change", ROWS)
def test_rows_deleted_doubled_or_misnamed_are_found_and_repaired(bench: DamagedArchive, change: str) -> None:
    before = bench.table.read()
    bench.overwrite_rows(ROWS[change])
    bench.found_and_repaired()
    assert bench.server.requests.count() == 0
    assert sorted_rows(bench.table.read()).equals(sorted_rows(before))


def table_files(bench: DamagedArchive) -> list[Path]:
    return sorted(path for path in (bench.root / "clip_metadata").rglob("*") if path.is_file())


@pytest.mark.parametrize("pattern", ["**/*.parquet", "_delta_log/*.json"])
@pytest.mark.parametrize("kind", ["truncate", "delete"])
def test_lost_file_of_the_table_is_found_and_repaired(bench: DamagedArchive, pattern: str, kind: str) -> None:
    before = bench.table.read()
    for path in (bench.root / "clip_metadata").glob(pattern):
        damage(path, kind)
    bench.found_and_repaired()
    assert bench.server.requests.count() == 0
    assert sorted_rows(bench.table.read()).equals(sorted_rows(before))


@SOME
@given(
    which=st.floats(0, 1, exclude_max=True),
    kind=st.sampled_from(KINDS_OF_DAMAGE),
    position=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_any_byte_of_the_table_is_without_effect_or_found_and_repaired(
    made: DamagedArchive, which: float, kind: str, position: float, mask: int
) -> None:
    made.put_back()
    before = made.table.read()
    files = table_files(made)
    damage(files[int(which * len(files))], kind, position, mask)
    if made.differences():
        made.found_and_repaired()
    assert made.server.requests.count() == 0
    assert sorted_rows(made.table.read()).equals(sorted_rows(before))


def test_repair_without_a_name_mends_all_sessions(bench: DamagedArchive) -> None:
    damage(bench.object(bench.rich, bench.clip), "flip")
    damage(bench.document(bench.rich, "clip_list"), "flip")
    damage(bench.document(bench.plain, "clip_files"), "delete")
    bench.overwrite_rows(lambda rows: rows.assign(clip_name="changed"))
    assert bench.run("repair")[0] == 0
    assert bench.run("verify", "--read-data")[0] == 0
    bench.assert_present_cuts_are_right()


def test_unreadable_object_is_reported_and_not_given_up(bench: DamagedArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.object(bench.rich, bench.clip)
    kept = bench.record(bench.rich)
    plain_open = Path.open

    def refuse(self: Path, *args: object, **more: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return plain_open(self, *args, **more)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        (difference,) = bench.differences()
        assert difference.kind == "object unreadable"
        code, output = bench.run("repair", "--session", bench.rich)
        assert code == 2
        assert "as long as it may be whole" in output
    assert bench.record(bench.rich) == kept
    assert bench.differences() == []


def test_unreadable_document_is_reported_and_keeps_no_other_session_from_repair(bench: DamagedArchive) -> None:
    path = bench.document(bench.rich, "clip_urls")
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(path.name)
    damage(bench.document(bench.plain, "clip_list"), "flip")
    assert {(d.session_id, d.kind) for d in bench.differences()} == {
        (bench.rich, "document unreadable"),
        (bench.plain, "document damaged"),
    }
    code, output = bench.run("repair")
    assert (code, "clip_list.json rebuilt" in output, f"Cannot read sessions/{bench.rich}" in output) == (2, True, True)
    assert "2 sessions looked at: 1 mended, 1 left as they are, 0 lacked clips or a listing." in output
    path.with_suffix(".kept").replace(path)
    assert bench.differences() == []


def sorted_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["session_id", "clip_uuid"], ignore_index=True)
