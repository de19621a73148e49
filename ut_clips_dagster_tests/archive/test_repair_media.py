"""Whatever is changed in media facts, posters and their table, `verify` finds, and the command it names repairs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ut_clips_dagster.assets.clip_media import lacking_media
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.cli.verify import verify
from ut_clips_dagster.storage.media_table import SCHEMA, MediaTable

from .damaged_archive import DamagedArchive
from .test_repair import ONE_OF_THEM_LATER, damage


def media_rows(bench: DamagedArchive) -> pd.DataFrame:
    rows = MediaTable(str(bench.root)).read().sort_values("storage_path", ignore_index=True)
    return rows.drop(columns=["probed_at", "poster_path"])


def posters(bench: DamagedArchive) -> list[Path]:
    return sorted((bench.root / "clips").rglob("*.jpg"))


def assert_made_anew(bench: DamagedArchive, before: pd.DataFrame) -> None:
    """`archive` looks at what was forgotten, and asks for no clip again."""
    lacking = lacking_media(archive_settings(), None)
    assert bench.run("archive")[0] == 0
    assert lacking_media(archive_settings(), None) == set()
    pd.testing.assert_frame_equal(media_rows(bench), before)
    assert bench.differences() == []
    assert bench.asked_for() == set()
    assert lacking <= {bench.rich, bench.plain}


def test_archive_looks_at_every_stored_clip_and_verify_knows_the_posters(bench: DamagedArchive) -> None:
    assert len(media_rows(bench)) == 4
    assert len(posters(bench)) == 5  # the re-cut clip has two
    assert verify(archive_settings(), read_data=True).unrecorded == []


@pytest.mark.parametrize("kind", ONE_OF_THEM_LATER)
def test_damaged_document_is_found_and_its_clips_are_looked_at_anew(bench: DamagedArchive, kind: str) -> None:
    before = media_rows(bench)
    damage(bench.document(bench.rich, "clip_media"), kind)
    assert {d.session_id for d in bench.found_and_repaired()} == {bench.rich}
    assert_made_anew(bench, before)


@pytest.mark.parametrize("kind", ONE_OF_THEM_LATER)
def test_damaged_poster_is_found_and_made_anew_beside_it(bench: DamagedArchive, kind: str) -> None:
    before, poster = media_rows(bench), posters(bench)[0]
    damage(poster, kind)
    left = poster.read_bytes() if poster.exists() else None
    assert len(bench.found_and_repaired()) == 1
    assert_made_anew(bench, before)
    if left is not None:
        assert poster.read_bytes() == left  # nothing is overwritten


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.iloc[1:],
        lambda rows: pd.concat([rows, rows.iloc[:1]], ignore_index=True),
        lambda rows: rows.assign(width=rows["width"] + 1),
        pytest.param(lambda rows: rows.assign(problem="invented"), marks=pytest.mark.long),
        pytest.param(
            lambda rows: rows.assign(session_id=pd.Series([None] * len(rows), dtype="string")), marks=pytest.mark.long
        ),
        pytest.param(
            lambda rows: rows.assign(session_id="00000000-0000-4000-8000-000000000000"), marks=pytest.mark.long
        ),
    ],
    ids=["lost row", "doubled row", "other number", "other text", "no session", "unknown session"],
)
def test_changed_rows_are_found_and_made_from_the_documents(bench: DamagedArchive, change: object) -> None:
    before, table = media_rows(bench), MediaTable(str(bench.root))
    rows = change(table.read())  # type: ignore[operator]
    write_deltalake(table.uri, pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), mode="overwrite")
    assert bench.found_and_repaired()
    assert_made_anew(bench, before)


def test_a_table_that_cannot_be_read_is_written_anew(bench: DamagedArchive) -> None:
    before = media_rows(bench)
    for log in Path(bench.root, "clip_media", "_delta_log").glob("*.json"):
        log.write_bytes(b"{")
    assert {d.kind for d in bench.found_and_repaired()} == {"table unreadable"}
    assert_made_anew(bench, before)
