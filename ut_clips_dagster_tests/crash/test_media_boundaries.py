"""A process that dies at any boundary while clips are looked at leaves nothing untrue; the next one completes it."""

from __future__ import annotations

from pathlib import Path

from ut_clips_dagster.media.companion import MediaCompanion
from ut_clips_dagster.simulator import SimulatorServer
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.store import Store

from .invariants import Moment, assert_complete, assert_sound
from .test_boundaries import CLIPS_PER_SESSION, ONE_OF_EACH_KIND_OR_ALL, Bench, chosen, server
from .worker import DIED, FINISHED, open_store
from .zygote import Workers

__all__ = ["server"]
OF_MEDIA = ("poster", "clip_media.json", "media table", "media made")


@ONE_OF_EACH_KIND_OR_ALL
def test_death_while_clips_are_looked_at_is_made_good_by_the_next_run(
    server: SimulatorServer, tmp_path: Path, all_of_them: bool
) -> None:
    with Workers({}) as workers:
        bench = Bench(server, workers, tmp_path)
        whole = bench.job(f"{tmp_path}/whole", media=True)
        assert bench.run(whole) == FINISHED
        assert_media(open_store(whole.archive), bench)
        reached = Path(whole.trace or "").read_text().splitlines()
        boundaries = [name for name in reached if any(part in name for part in OF_MEDIA)]
        clips, sessions = sum(CLIPS_PER_SESSION), len(CLIPS_PER_SESSION)
        assert len(boundaries) == 2 * clips + 5 * sessions
        for number, boundary in enumerate(chosen(boundaries, all_of_them=all_of_them)):
            job = bench.job(f"{tmp_path}/{number}", media=True, die_at=boundary)
            assert bench.run(job) == DIED, boundary
            store = open_store(job.archive)
            moment = assert_sound(store, bench.bytes.__getitem__, bench.events(job))
            media_differences(store, moment, rows_too=False)
            assert bench.run(bench.job(job.archive, media=True)) == FINISHED
            assert_complete(store, bench.bytes.__getitem__, bench.clips, bench.events(job))
            assert_media(store, bench)


def media_differences(store: Store, moment: Moment, *, rows_too: bool) -> None:
    """What the documents name is there; rows are older than their document, or say the same."""
    table = MediaTable(store.uri)
    companion = MediaCompanion(store, table)
    for session_id, record in moment.records.items():
        rows = table.read([session_id])
        checked = companion.check(record, rows if rows_too else None, read_data=True)
        assert checked.differences == []
        assert set(rows["poster_path"].dropna()) <= checked.recorded


def assert_media(store: Store, bench: Bench) -> None:
    """Every clip has a row, and what the rows name is there."""
    moment = assert_sound(store, bench.bytes.__getitem__, set())
    media_differences(store, moment, rows_too=True)
    assert set(MediaTable(store.uri).read()["clip_uuid"]) == {uuid for uuids in bench.clips.values() for uuid in uuids}
