"""Faults of clips' files and of the store, as `clip_media` meets them: told, and no harm to what is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.media.companion import MediaCompanion
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.media.session_media import MediaMaker, SessionMedia
from ut_clips_dagster.simulator.faults.names import FILE_FAULTS
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator

from .bench import Bench
from .judge import has_secret, invariants
from .row import GcsFault

PROBLEMS = {
    "no_video": "holds no video",
    "wrong_length": "s long, but the clip's range is",
    "wrong_sound": "has no sound, though the clip is listed with sound",
    "broken_index": "does not open",
    "unknown_codec": "of a kind that cannot be decoded",
    "huge_picture": "8192 x 4352, above 7680 x 4320",
}


def maker(bench: Bench, prober: Prober) -> MediaMaker:
    return MediaMaker(bench.store, MediaTable(bench.store.uri), prober)


def make(bench: Bench, prober: Prober) -> list[SessionMedia]:
    return [maker(bench, prober).make(bench.records.read(s.session_id)) for s in (bench.a, bench.b)]


def assert_sound(bench: Bench) -> None:
    table = MediaTable(bench.store.uri)
    companion = MediaCompanion(bench.store, table)
    for session in (bench.a, bench.b):
        record = bench.records.read(session.session_id)
        assert companion.check(record, table.read([session.session_id]), read_data=True).differences == []
        assert set(bench.table.read([session.session_id])["status"]) == {"STORED"}


def test_every_fault_of_a_file_has_a_row_here() -> None:
    assert {fault.value for fault in FILE_FAULTS} == PROBLEMS.keys()


@pytest.mark.parametrize("fault", PROBLEMS)
def test_a_file_that_is_not_what_is_listed_is_stored_and_told(fault: str, tmp_path: Path) -> None:
    with Bench(tmp_path / "archive") as bench, Prober() as prober:
        bench.add_faults([f"{fault}:clip_uuid={{a1}}"])
        assert all(result.error is None for result in bench.run().values())
        a, b = make(bench, prober)
        assert [m.clip_uuid for m in a.problems] == [bench.a1.clip_uuid]
        assert PROBLEMS[fault] in (a.problems[0].problem or "")
        assert not has_secret(str(a).encode())
        assert (len(a.clips), len(b.clips), b.problems) == (2, 1, ())
        assert_sound(bench)


@pytest.mark.parametrize(
    ("gcs", "message"),
    [
        (GcsFault("status_503", 2, contains=".jpg"), None),
        (GcsFault("cut_upload", contains=".jpg"), None),
        (GcsFault("ambiguous", contains=".jpg"), None),
        (GcsFault("status_503", 2, contains="clip_media.json"), None),
        (GcsFault("status_503", None, contains=".jpg"), "It is tried again"),
        (GcsFault("forbidden", None, contains="clip_media.json"), "grant them Storage Object User"),
        (GcsFault("status_503", 2, contains="{a1}.mp4"), None),
    ],
    ids=lambda value: f"{value.kind} {value.contains}" if isinstance(value, GcsFault) else "",
)
def test_a_bucket_that_fails_costs_the_session_and_no_clip(
    gcs: GcsFault, message: str | None, tmp_path: Path, gcs_emulator: GcsEmulator, gcs_bucket: str
) -> None:
    with Bench(tmp_path, gcs=gcs_emulator, bucket=gcs_bucket) as bench, Prober() as prober:
        results = bench.run()
        bench.add_faults([], [gcs])
        record = bench.records.read(bench.a.session_id)
        if message is None:
            made = maker(bench, prober).make(record)
            assert made.looked_at == 2
        else:
            with pytest.raises(StorageError, match=message) as caught:
                maker(bench, prober).make(record)
            assert not has_secret(str(caught.value).encode())
        gcs_emulator.faults.clear()
        assert sum(len(each.clips) for each in make(bench, prober)) == 3
        assert_sound(bench)
        assert invariants(bench, results) == []
