"""A run that was ended elsewhere, or is interrupted, stops at once: no request, no write and no report comes after."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ut_clips_dagster.archive.downloads import Downloader
from ut_clips_dagster.archive.pipeline import ArchivePipeline
from ut_clips_dagster.archive.poller import ClipPoller
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.run_watch import LOOK_EVERY_S, RunWatch
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.archive.session_work import Steps
from ut_clips_dagster.errors import RunEndedError
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.simulator import Operation, SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster_tests.waiting import until


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer(SimulatorConfig(rate_limit=1_000_000, sessions=0, generation_s=0.02)) as server:
        yield server


class Run:
    """A pipeline over a directory, whose watch looks at every occasion; `ended` is set by the test."""

    def __init__(self, server: SimulatorServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ut_clips_dagster.archive.run_watch.LOOK_EVERY_S", 0.0)
        self.ended = threading.Event()
        self.store = LocalStore(folder)
        self.records = SessionRecords(self.store)
        self.table = MetadataTable(self.store.uri)
        self.api = ResultsApi(server.url, server.token_url, "demo", "demo")
        media = MediaClient(allow_loopback=True, max_bytes=10**9)
        self.pipeline = ArchivePipeline(
            ClipPoller(self.api, PollingPolicy(0.05, 200)),
            Downloader(media, self.store),
            self.records,
            self.table,
            ended=self.ended.is_set,
        )


@pytest.fixture
def run(server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    run = Run(server, tmp_path, monkeypatch)
    with closing(run.api):
        yield run


def test_a_run_that_was_ended_sends_writes_and_reports_nothing_more(server: SimulatorServer, run: Run) -> None:
    sessions = [server.world.add_session(clips=1).session_id for _ in range(30)]
    results = run.pipeline.run(sessions, Steps())
    first = next(results)
    run.ended.set()
    until("what was under way is done", lambda: all(future.done() for future in run.pipeline._downloads), 10)
    requests = len(server.requests.entries())
    documents = {path: run.store.read_document(path) for path in run.store.walk("sessions/")}

    with pytest.raises(RunEndedError, match="was ended"):
        next(results)

    assert first.error is None
    assert len(server.requests.entries()) == requests
    assert documents == {path: run.store.read_document(path) for path in run.store.walk("sessions/")}
    assert set(run.table.read()["session_id"]) == {first.session_id}


def test_a_run_that_was_ended_during_a_request_does_not_use_its_answer(
    server: SimulatorServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = server.world.add_session(clips=1).session_id
    write = run.pipeline._poller.step

    def step_while_it_is_ended() -> object:
        outcome = write()
        run.ended.set()
        return outcome

    monkeypatch.setattr(run.pipeline._poller, "step", step_while_it_is_ended)

    with pytest.raises(RunEndedError):
        list(run.pipeline.run([session], Steps()))

    assert run.records.read(session).clip_list is None
    assert len(server.requests.entries(Operation.LIST_CLIPS)) == 1


def test_nobody_waits_for_a_media_host_that_stalls_and_nothing_of_it_is_stored(
    server: SimulatorServer, run: Run, tmp_path: Path
) -> None:
    session_id = server.world.add_session().session_id
    server.world.add_clip(session_id, media_size_bytes=5_000_000)
    server.faults.add("slow_body:delay_s=30")
    threading.Thread(target=end_when_downloading, args=(server, run)).start()
    began = time.monotonic()

    with pytest.raises(RunEndedError):
        list(run.pipeline.run([session_id], Steps()))

    assert time.monotonic() - began < 15
    assert list(run.store.walk("clips/")) == []
    deadline = time.monotonic() + 10
    while any(thread.name.startswith("download") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a download goes on"
        time.sleep(0.05)
    assert list((tmp_path / ".tmp").iterdir()) == []
    assert run.records.read(session_id).clip_files.files == ()


def end_when_downloading(server: SimulatorServer, run: Run) -> None:
    deadline = time.monotonic() + 30
    while not server.requests.entries(Operation.MEDIA) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.ended.set()


def test_it_looks_every_few_seconds_and_never_again_once_it_was_ended() -> None:
    now, looks = [0.0], []

    def ended() -> bool:
        looks.append(now[0])
        return now[0] > 8

    watch = RunWatch(ended, lambda: now[0])
    for _ in range(9):
        watch.check()
        now[0] += 1
    for _ in range(9):
        with pytest.raises(RunEndedError):
            watch.check()
        now[0] += 1

    assert looks == [0, LOOK_EVERY_S, 2 * LOOK_EVERY_S, 3 * LOOK_EVERY_S]


def test_a_long_wait_is_cut_short_when_the_run_is_ended() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    watch = RunWatch(lambda: now[0] >= 60, lambda: now[0])

    with pytest.raises(RunEndedError):
        watch.sleeping(sleep)(900)

    assert now[0] <= 60 + LOOK_EVERY_S
