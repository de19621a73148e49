"""A crawl as a person lives it: a real daemon, real processes and the instance's configuration we ship.

    .venv/bin/python -m benchmarks.crawl [sensors] [by-hand] [processes] [--time-scale 1]

- sensors: 36 sessions with 72 clips, found and archived by the sensors' runs.
- by-hand: the same, and beside it ten sessions of three clips, each launched by hand; before it, five alone.
- processes: the same sessions by one, two and four `ut-clips archive`, in archives of their own.

The simulator serves it in real time, or faster (`--time-scale`); below 20 s a window is too short for the start of a
process. Requests that were answered 429 count. Ideal are one for each page, session, clip and its link, and one for
each transcript that was asked for meanwhile. The bound is what the budget allows: the ideal requests, ten a window.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster_graphql import DagsterGraphQLClient

from benchmarks.large_archive import Place, make_place
from ut_clips_dagster.cli.demo import _end, free_port
from ut_clips_dagster.definitions import JOB
from ut_clips_dagster.partitions import SESSIONS as PARTITIONS
from ut_clips_dagster.simulator import DEMO_TEST_ID, Operation, SimulatorConfig, SimulatorServer
from ut_clips_dagster.simulator.admin.requestlog import LoggedRequest
from ut_clips_dagster.simulator.api.calls import API_OPERATIONS

SESSIONS, CLIPS, CLIPS_BY_HAND = 36, 72, 3
LIMIT = 10
OTHER_TEST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa7"
"""Not configured: its sessions are launched by hand, and the sensors do not find them."""
ALONE, BESIDE = 5, 10


@contextmanager
def dagster(place: Place) -> Iterator[tuple[DagsterInstance, Callable[[str], str]]]:
    """Webserver and daemon; hands out the instance, and how to launch a session's run by hand."""
    port = free_port(0)
    environment = {**os.environ, **place.environment, "no_proxy": "127.0.0.1,localhost"}
    command = [sys.executable, "-m", "dagster", "dev", "-m", "ut_clips_dagster.definitions", "-p", str(port)]
    with (place.root / "dagster.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    os.environ["no_proxy"] = "127.0.0.1,localhost"
    client: list[DagsterGraphQLClient] = []

    def launch(session_id: str) -> str:
        if not client:
            client.append(DagsterGraphQLClient("127.0.0.1", port_number=port))
        return client[0].submit_job_execution(JOB, tags={PARTITION_NAME_TAG: session_id})

    try:
        with DagsterInstance.from_config(str(place.home)) as instance:
            yield instance, launch
    finally:
        _end(process)


def until(true: Callable[[], bool], within_s: float) -> None:
    give_up_at = time.monotonic() + within_s
    while not true():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"Not done within {within_s:.0f} s.")
        time.sleep(0.5)


def requests_of(server: SimulatorServer) -> list[LoggedRequest]:
    return sorted((e for e in server.requests.entries() if e.operation in API_OPERATIONS), key=lambda e: e.at)


def used_in_windows(requests: Sequence[LoggedRequest], window_s: float) -> list[int]:
    """Requests answered in each window; a window opens with the first request after the one before."""
    used, opened_at = [], None
    for request in requests:
        if request.status == 429:
            continue
        if opened_at is None or (request.at - opened_at).total_seconds() >= window_s:
            opened_at = request.at
            used.append(0)
        used[-1] += 1
    return used


def report(name: str, server: SimulatorServer, window_s: float, clips: int = CLIPS, sessions: int = SESSIONS) -> None:
    requests = requests_of(server)
    transcripts = len({e.session_id for e in requests if e.operation is Operation.GET_TRANSCRIPT})
    ideal = 1 + sessions + 2 * clips + transcripts
    media = [e.at for e in server.requests.entries(Operation.MEDIA)]
    took_s = (requests[-1].at - requests[0].at).total_seconds()
    bound_s = (ideal - 1) // LIMIT * window_s
    lists = sum(e.operation is Operation.LIST_SESSIONS for e in requests)
    print(
        f"{name}: {len(requests)} requests ({sum(e.status == 429 for e in requests)} answered 429, {lists} lists of "
        f"sessions, {transcripts} transcripts), requests/ideal {len(requests) / ideal:.3f}, time {took_s:.0f} s, "
        f"time/bound {took_s / bound_s:.3f}, "
        f"first clip after {(min(media) - requests[0].at).total_seconds():.1f} s\n"
        f"    used of each window: {' '.join(map(str, used_in_windows(requests, window_s)))}",
        flush=True,
    )


def archived(instance: DagsterInstance, server: SimulatorServer) -> bool:
    from dagster import AssetKey

    wanted = {s.session_id for s in server.world.sessions() if s.test_id == DEMO_TEST_ID}
    return wanted <= set(instance.get_materialized_partitions(AssetKey("clip_metadata")))


def sensors(scale: float, scratch: Path) -> None:
    config = SimulatorConfig(sessions=SESSIONS, clips_total=CLIPS, time_scale=scale)
    with SimulatorServer(config) as server:
        place = make_place(scratch / "sensors", server, scale)
        with dagster(place) as (instance, _):
            until(lambda: archived(instance, server), 3600 / scale + 120)
            report("crawl by sensors", server, 60 / scale)


def by_hand_once(
    server: SimulatorServer, instance: DagsterInstance, launch: Callable[[str], str]
) -> tuple[float, float]:
    """Launch one session's run; seconds to its start, and to its last clip."""
    session = server.world.add_session(test_id=OTHER_TEST_ID, clips=CLIPS_BY_HAND)
    instance.add_dynamic_partitions(PARTITIONS, [session.session_id])
    launched_at = datetime.now(timezone.utc)
    run_id = launch(session.session_id)

    def done() -> bool:
        run = instance.get_run_by_id(run_id)
        return run is not None and run.is_finished

    until(done, 600)
    record = instance.get_run_record_by_id(run_id)
    if record is None or record.dagster_run.status is not DagsterRunStatus.SUCCESS or record.start_time is None:
        raise SystemExit(f"Run {run_id} was no success.")
    last = max(e.at for e in server.requests.entries(Operation.MEDIA) if e.session_id == session.session_id)
    return record.start_time - launched_at.timestamp(), (last - launched_at).total_seconds()


def report_by_hand(name: str, times: Sequence[tuple[float, float]]) -> float:
    mean = statistics.fmean(total for _, total in times)
    print(
        f"by hand, {name}: starts after {max(start for start, _ in times):.1f} s at most, from the launch to the last "
        f"clip {mean:.1f} s\n    single runs (start, all): {' '.join(f'{s:.1f},{t:.1f}' for s, t in times)}",
        flush=True,
    )
    return mean


def by_hand(scale: float, scratch: Path) -> None:
    config = SimulatorConfig(sessions=0, clips_total=0, time_scale=scale, test_ids=(DEMO_TEST_ID, OTHER_TEST_ID))
    with SimulatorServer(config) as server:
        place = make_place(scratch / "by hand", server, scale)
        environment = {**place.environment, "UT_CLIPS_DISCOVERY_INTERVAL_S": "30"}
        with dagster(Place(place.root, environment)) as (instance, launch):
            until(lambda: bool(server.requests.count(Operation.LIST_SESSIONS)), 120)
            alone = []
            for number in range(ALONE):
                time.sleep(61 / scale + 7 * number / scale)  # in another part of the window each time
                alone.append(by_hand_once(server, instance, launch))
            mean_alone = report_by_hand("alone", alone)
            server.requests.clear()
            for _ in range(SESSIONS):
                server.world.add_session(test_id=DEMO_TEST_ID, clips=CLIPS // SESSIONS)
            until(lambda: bool(server.requests.count(Operation.LIST_CLIPS)), 120)
            beside = []
            for _ in range(BESIDE):
                next_at = time.monotonic() + 97 / scale
                beside.append(by_hand_once(server, instance, launch))
                time.sleep(max(0.0, next_at - time.monotonic()))
            mean = report_by_hand("beside the crawl", beside)
            crawl = "over" if archived(instance, server) else "under way"
            print(f"    / alone {mean / mean_alone:.2f}; the crawl was {crawl}", flush=True)
            until(lambda: archived(instance, server), 3600 / scale + 120)
            report("both", server, 60 / scale, CLIPS + BESIDE * CLIPS_BY_HAND, SESSIONS + BESIDE)


def processes(scale: float, scratch: Path) -> None:
    for number in (1, 2, 4):
        config = SimulatorConfig(sessions=SESSIONS, clips_total=CLIPS, time_scale=scale)
        with SimulatorServer(config) as server:
            found = [session.session_id for session in server.world.sessions()]
            running = []
            for process in range(number):
                place = make_place(scratch / f"{process} of {number}", server, scale)
                share = found[process * SESSIONS // number : (process + 1) * SESSIONS // number]  # contiguous: one run
                named = [f"--session={session_id}" for session_id in share] if number > 1 else []
                command = [str(Path(sys.executable).parent / "ut-clips"), "archive", *named]
                environment = {**os.environ, **place.environment}
                running.append(
                    subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                )
            statuses = [process.wait() for process in running]
            if any(statuses):
                raise SystemExit("An archive was left unfinished.")
            report(f"archive, {number} processes", server, 60 / scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["sensors", "by-hand", "processes"])
    parser.add_argument("--time-scale", type=float, default=1.0)
    options = parser.parse_args()
    scale = options.time_scale
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {load}, time x {scale:g}; "
        f"{SESSIONS} sessions, {CLIPS} clips, {1 + SESSIONS + 2 * CLIPS} requests at best, windows of {60 / scale:g} s",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name, measure in (("sensors", sensors), ("by-hand", by_hand), ("processes", processes)):
            if name in options.what:
                measure(scale, Path(scratch))


if __name__ == "__main__":
    main()
