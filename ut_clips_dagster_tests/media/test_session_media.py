"""The clips of a session are looked at once, and what is found is written so that a death does no harm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ut_clips_dagster.archive.documents import Cut
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.media.companion import MediaCompanion
from ut_clips_dagster.media.documents import media_rows
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster_tests.media import bad_worker
from ut_clips_dagster_tests.media.bench import SESSION, MediaBench
from ut_clips_dagster_tests.media.files import media

OTHER_CUT = Cut(time_start_ms=500, time_end_ms=2_500)


class Died(BaseException):
    """The process ends here."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[MediaBench]:
    bench = MediaBench(tmp_path / "archive")
    with bench.prober:
        yield bench


def test_each_stored_clip_has_facts_a_poster_beside_it_and_a_row(bench: MediaBench) -> None:
    first, second = bench.add(1, media("h264")), bench.add(2, media("vp8", audio=False))
    made = bench.make()

    assert (made.looked_at, len(made.clips)) == (2, 2)
    rows = bench.rows()
    assert rows[first]["problem"] is None
    assert rows[second]["problem"] == "The file has no sound, though the clip is listed with sound."
    assert [m.storage_path for m in made.problems] == [second]
    for path in (first, second):
        poster = Path(path).with_suffix(".jpg").as_posix()
        assert rows[path]["poster_path"] == poster
        assert (bench.root / poster).read_bytes()[:3] == b"\xff\xd8\xff"
        assert (rows[path]["width"], rows[path]["duration_s"]) == (192, pytest.approx(2, abs=0.1))


def test_a_clip_is_looked_at_once(bench: MediaBench) -> None:
    bench.add(1, media("h264"))
    bench.make()
    bench.store.ranges.clear()
    bench.add(2, media("av1"))

    assert bench.make().looked_at == 1
    assert len(set(bench.store.ranges)) == 1
    bench.store.ranges.clear()
    assert bench.make().looked_at == 0
    assert bench.store.ranges == []
    assert len(bench.rows()) == 2


def test_a_clip_that_kills_the_worker_costs_its_own_facts_alone(tmp_path: Path) -> None:
    with Prober(module=bad_worker.__name__) as prober:
        bench = MediaBench(tmp_path / "archive", prober=prober)
        paths = [bench.add(n, order) for n, order in enumerate((b"fine", bad_worker.SEGFAULT, b"well"), 1)]
        bench.make()
    problems = [bench.rows()[path]["problem"] for path in paths]
    assert problems[1].startswith("The file ends the program that looks at it (SIGSEGV)")
    assert not any("ends the program" in str(problems[n]) for n in (0, 2))
    assert bench.record.is_complete


def test_a_recut_clip_has_the_facts_of_its_present_file_and_both_posters_stay(bench: MediaBench) -> None:
    before = bench.add(1, media("h264"))
    bench.make()
    after = bench.add(1, media("hevc"), OTHER_CUT)
    bench.make()
    assert after.endswith("/500-2500.mp4")
    assert list(bench.rows()) == [after]
    assert bench.rows()[after]["poster_path"] == after.replace(".mp4", ".jpg")
    assert (bench.root / before).with_suffix(".jpg").exists()

    bench.store.ranges.clear()
    bench.add(1, b"", Cut(time_start_ms=0, time_end_ms=2_000))  # cut back as it was: its file is there
    bench.make()
    assert list(bench.rows()) == [before]
    assert bench.store.ranges == []


def test_a_poster_never_overwrites_what_has_its_name(bench: MediaBench) -> None:
    path = bench.add(1, media("h264"))
    taken = (bench.root / path).with_suffix(".jpg")
    taken.write_bytes(b"something else")
    bench.make()
    assert taken.read_bytes() == b"something else"
    assert bench.rows()[path]["poster_path"] == path.replace(".mp4", "-2.jpg")


def test_a_clip_that_cannot_be_read_fails_the_session_and_keeps_what_was_found(bench: MediaBench) -> None:
    good, lost = bench.add(1, media("h264")), bench.add(2, media("vp8"))
    content = (bench.root / lost).read_bytes()
    (bench.root / lost).unlink()
    with pytest.raises(StorageError, match="is recorded as stored, but not there"):
        bench.make()
    assert bench.document is not None
    assert [file.storage_path for file in bench.document.files] == [good]

    (bench.root / lost).write_bytes(content)
    assert bench.make().looked_at == 1
    assert len(bench.rows()) == 2


def boundaries(bench: MediaBench) -> list[str]:
    reached: list[str] = []
    bench.store.hook = HookTo(reached.append)
    bench.table.hook = HookTo(reached.append)  # type: ignore[method-assign]
    bench.make()
    return reached


class HookTo:
    """A plain function would become a method."""

    def __init__(self, call: object) -> None:
        self._call = call

    def __call__(self, what: str) -> None:
        self._call(what)  # type: ignore[operator]


def test_a_death_at_any_boundary_leaves_nothing_untrue_and_the_next_run_completes_it(tmp_path: Path) -> None:
    """`finally` runs here as it would not in a death; crash/test_boundaries ends real processes."""
    template = MediaBench(tmp_path / "template")
    for number, kind in enumerate(("h264", "vp8"), 1):
        template.add(number, media(kind))
    shutil.copytree(template.root, tmp_path / "whole")
    with template.prober as prober:
        whole = MediaBench(tmp_path / "whole", prober=prober)
        names = boundaries(whole)
        assert names == [
            "before .jpg", ".jpg stored", "before .jpg", ".jpg stored", "before clip_media.json",
            "clip_media.json written", "before the table's commit", "table committed",
        ]  # fmt: skip
        for number in range(len(names)):
            bench = MediaBench(tmp_path / str(number), prober=prober)
            shutil.copytree(template.root, bench.root)
            die_at(bench, number)
            with pytest.raises(Died):
                bench.make()
            assert_sound(bench)
            again = MediaBench(bench.root, prober=prober)
            again.make()
            assert_sound(again)
            assert (
                media_rows(SESSION, again.document)
                .drop(columns="probed_at")
                .equals(media_rows(SESSION, whole.document).drop(columns="probed_at"))
            )
            checked = MediaCompanion(again.store, again.table).check(
                again.record, again.table.read([SESSION]), read_data=True
            )
            assert checked.differences == []


def die_at(bench: MediaBench, number: int) -> None:
    left = [number]

    def hook(_: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Died

    bench.store.hook = HookTo(hook)
    bench.table.hook = HookTo(hook)  # type: ignore[method-assign]


def assert_sound(bench: MediaBench) -> None:
    """Rows name only what the document names, the document only posters that are there, whole."""
    document = bench.document
    recorded = {file.storage_path for file in document.files} if document else set()
    assert bench.rows().keys() <= recorded
    companion = MediaCompanion(bench.store, bench.table)
    checked = companion.check(bench.record, None, read_data=True)
    assert checked.differences == []
    assert not list((bench.root / ".tmp").iterdir())
