"""A process that dies at any write boundary leaves nothing untrue, and the next one completes what it began."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.sensors.late_clips import Cursor, plan_relists
from ut_clips_dagster.simulator import Operation, Session, SimulatorConfig, SimulatorServer, media_file
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .invariants import assert_complete, assert_sound
from .worker import DIED, FINISHED, UNFINISHED, Job, open_store
from .zygote import Workers

CLIPS_PER_SESSION = (2, 1)
ONE_OF_EACH_KIND_OR_ALL = pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.long)])


class Bench:
    """A small world, and workers that archive it."""

    def __init__(self, server: SimulatorServer, workers: Workers, folder: Path) -> None:
        self.server = server
        self.workers = workers
        self.folder = folder
        self.clips = {s.session_id: {c.clip_uuid for c in server.world.clips(s.session_id)} for s in self.sessions}
        self.bytes = {
            c.clip_uuid: media_file(server.world.render(c)).read()
            for s in self.sessions
            for c in server.world.clips(s.session_id)
        }

    @property
    def sessions(self) -> list[Session]:
        return list(self.server.world.sessions())

    def job(self, archive: str, **changes: object) -> Job:
        name = archive.rpartition("/")[2]
        events = self.folder / f"{name}.events"
        trace = self.folder / f"{name}.trace"
        test_id = self.server.world.test_ids[0]
        job = Job(archive=archive, api_url=self.server.url, test_id=test_id, events=str(events), trace=str(trace))
        return job.model_copy(update=changes)

    def run(self, job: Job) -> int:
        self.workers.start(job.model_dump_json())
        return self.workers.wait()

    def events(self, job: Job) -> set[str]:
        path = Path(job.events)
        return set(path.read_text().split()) if path.exists() else set()

    def asked_for(self) -> list[str | None]:
        """Clips whose generation or bytes were requested since the log was cleared."""
        log = self.server.requests
        return [e.clip_uuid for operation in (Operation.GET_CLIP, Operation.MEDIA) for e in log.entries(operation)]


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(SimulatorConfig(rate_limit=1_000_000, sessions=0, generation_s=0.02)) as server:
        for clips in CLIPS_PER_SESSION:
            session = server.world.add_session()
            for _ in range(clips):
                server.world.add_clip(session.session_id, media_size_bytes=200_000)
        yield server


@pytest.fixture
def bench(server: SimulatorServer, tmp_path: Path) -> Iterator[Bench]:
    with Workers({}) as workers:
        yield Bench(server, workers, tmp_path)


def kind_of(boundary: str) -> str:
    return boundary.partition("#")[0]


def chosen(boundaries: list[str], *, all_of_them: bool) -> list[str]:
    """All, or the last one of each kind."""
    return boundaries if all_of_them else list({kind_of(boundary): boundary for boundary in boundaries}.values())


def walk_boundaries(bench: Bench, root: str, *, all_of_them: bool = True) -> Counter[str]:
    """Die at each boundary in turn, resume, and check before and after; returns how many of each kind there are."""
    whole = bench.job(f"{root}/whole")
    assert bench.run(whole) == FINISHED
    assert_complete(open_store(whole.archive), bench.bytes.__getitem__, bench.clips, bench.events(whole))
    boundaries = Path(whole.trace or "").read_text().splitlines()
    for number, boundary in enumerate(chosen(boundaries, all_of_them=all_of_them)):
        job = bench.job(f"{root}/{number}", die_at=boundary)
        code = bench.run(job)
        assert code == DIED, f"{boundary} was not reached"
        store = open_store(job.archive)
        moment = assert_sound(store, bench.bytes.__getitem__, bench.events(job))
        bench.server.requests.clear()
        assert bench.run(bench.job(job.archive)) == FINISHED
        again = moment.recorded & set(bench.asked_for())
        assert not again, f"stored before the death at {boundary}, and requested again"
        assert_complete(store, bench.bytes.__getitem__, bench.clips, bench.events(job))
    return Counter(map(kind_of, boundaries))


@ONE_OF_EACH_KIND_OR_ALL
def test_death_at_any_boundary_of_a_directory_is_made_good_by_the_next_run(bench: Bench, all_of_them: bool) -> None:
    there = walk_boundaries(bench, str(bench.folder / "archives"), all_of_them=all_of_them)
    clips, sessions = sum(CLIPS_PER_SESSION), len(CLIPS_PER_SESSION)
    documents = 2 * clips + 2 * sessions
    probes = 4  # whether the archive's places take hard links, tried before anything is requested
    discoveries = 2  # of the one test: before it is asked, and after
    assert there == {
        "before session.json": sessions,
        "session.json written": sessions,
        "before clip_list.json": sessions,
        "clip_list.json written": sessions,
        "before clip_urls.json": clips,
        "clip_urls.json written": clips,
        "before a clip": clips,
        "before open of a temporary file": clips + documents + probes + discoveries,
        "some bytes of a clip": 2 * clips,
        "before os.link of a temporary file": clips + probes,
        "before os.remove of a temporary file": clips + probes,
        "clip stored": clips,
        "before clip_files.json": clips,
        "before os.rename of a temporary file": documents + discoveries,
        "clip_files.json written": clips,
        "before the table's commit": sessions,
        "table committed": sessions,
        "before the event": sessions,
        "event logged": sessions,
    }


def walk_bucket(server: SimulatorServer, folder: Path, root: str, environment: dict[str, str]) -> None:
    with Workers(environment) as workers:
        bench = Bench(server, workers, folder)
        there = walk_boundaries(bench, root)
    documents = [f"{name}.json" for name in ("session", "clip_list", "clip_urls", "clip_files")]
    assert set(there) == {
        *(f"before {name}" for name in documents),
        *(f"{name} written" for name in documents),
        "before a clip",
        "some bytes of a clip",
        "clip stored",
        "before the table's commit",
        "table committed",
        "before the event",
        "event logged",
    }


@pytest.mark.long
def test_death_at_any_boundary_of_a_bucket_is_made_good_by_the_next_run(
    server: SimulatorServer, tmp_path: Path, gcs_emulator: GcsEmulator, gcs_bucket: str
) -> None:
    walk_bucket(server, tmp_path, f"gs://{gcs_bucket}/archives", gcs_emulator.environment)


@pytest.mark.long
def test_death_at_any_boundary_in_s3_is_made_good_by_the_next_run(
    server: SimulatorServer, tmp_path: Path, s3_emulator: S3Emulator, s3_bucket: str
) -> None:
    walk_bucket(server, tmp_path, f"s3://{s3_bucket}/archives", s3_emulator.environment)


@pytest.mark.long
@pytest.mark.parametrize("s3_emulator", ["moto", "ministack"], indirect=True)
def test_eight_processes_on_one_archive_in_s3_lose_and_repeat_nothing(
    tmp_path: Path, s3_emulator: S3Emulator, s3_bucket: str
) -> None:
    archive = f"s3://{s3_bucket}/shared"
    config = SimulatorConfig(rate_limit=1_000_000, sessions=4, clips_total=6, generation_s=0.02)
    with SimulatorServer(config) as server, Workers(s3_emulator.environment) as workers:
        bench = Bench(server, workers, tmp_path)
        job = bench.job(archive, trace=None, processes=8)
        assert bench.run(job) == FINISHED
        assert_complete(open_store(archive), bench.bytes.__getitem__, bench.clips, bench.events(job))


def test_two_processes_on_the_same_sessions_lose_nothing_and_store_nothing_twice(bench: Bench) -> None:
    archive = str(bench.folder / "shared")
    with Workers({}) as others:
        jobs = bench.job(archive), bench.job(archive, trace=None)
        bench.workers.start(jobs[0].model_dump_json())
        others.start(jobs[1].model_dump_json())
        codes = {bench.workers.wait(), others.wait()}
    assert codes == {FINISHED}
    assert_complete(open_store(archive), bench.bytes.__getitem__, bench.clips, bench.events(jobs[0]))


def test_full_disk_keeps_what_is_stored_and_records_nothing_else(bench: Bench) -> None:
    archive = str(bench.folder / "full")
    job = bench.job(archive, max_file_bytes=150_000)
    assert bench.run(job) == UNFINISHED
    moment = assert_sound(open_store(archive), bench.bytes.__getitem__, bench.events(job))
    assert moment.final_names == {}
    assert list(Path(archive, ".tmp").iterdir()) == []
    problems = [p.error for record in moment.records.values() for p in record.clip_files.problems]
    assert len(problems) == sum(CLIPS_PER_SESSION)
    assert all("free space" in problem for problem in problems)
    assert bench.run(bench.job(archive)) == FINISHED
    assert_complete(open_store(archive), bench.bytes.__getitem__, bench.clips, bench.events(job))


@pytest.mark.long
def test_new_clip_of_a_complete_session_is_not_forgotten_by_a_death_at_any_boundary(tmp_path: Path) -> None:
    long_ago = now_utc() - timedelta(days=60)
    config = SimulatorConfig(rate_limit=1_000_000, sessions=0, generation_s=0.02)
    with SimulatorServer(config) as server, Workers({}) as workers:
        session_id = server.world.add_session(finished_at=long_ago, clips=1).session_id
        before = Bench(server, workers, tmp_path)
        made = before.job(str(tmp_path / "made"))
        assert before.run(made) == FINISHED
        new = server.world.add_clip(session_id).clip_uuid
        bench = Bench(server, workers, tmp_path)
        shutil.copytree(made.archive, tmp_path / "whole")
        whole = bench.job(str(tmp_path / "whole"))
        assert bench.run(whole) == FINISHED
        boundaries = Path(whole.trace or "").read_text().splitlines()
        for number, boundary in enumerate(boundaries):
            job = bench.job(str(tmp_path / f"{number}"), die_at=boundary)
            shutil.copytree(made.archive, job.archive)
            assert bench.run(job) == DIED
            store = open_store(job.archive)
            moment = assert_sound(store, bench.bytes.__getitem__, set())
            if any(clip.clip_uuid == new for clip in moment.records[session_id].missing):
                assert known_to_a_sensor(store, session_id, bench.events(job)), (
                    f"forgotten after the death at {boundary}"
                )
            assert bench.run(bench.job(job.archive)) == FINISHED
            assert_complete(store, bench.bytes.__getitem__, bench.clips, bench.events(job))
    assert {"clip_list.json written#1", "before the table's commit#2"} <= set(boundaries)


def known_to_a_sensor(store: Store, session_id: str, events: set[str]) -> bool:
    """Whether `unfinished_sessions` sees it by the table's rows, or `late_clips` by its documents, an hour later."""
    if session_id in set(MetadataTable(store.uri).unfinished()["session_id"]):
        return True
    now, records = now_utc(), SessionRecords(store)
    cursor, _ = plan_relists(Cursor(seen=1), [session_id], records, set(), now, touched=events)
    _, wanted = plan_relists(cursor, [session_id], records, set(), now + timedelta(hours=1))
    return wanted == [session_id]
