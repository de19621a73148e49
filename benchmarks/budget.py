"""`ut-clips archive` with a budget a hundred times the official one: what is the limit when requests no longer are.

    .venv/bin/python -m benchmarks.budget [--sessions 50 200] [--limit 1000] [--time-scale 1] [--dagster-yaml FILE]

Each number of sessions, of two clips each, is archived by a command of its own from a simulator of its own; the command
tells how often it did what, and how long that took: wall seconds, and seconds of CPU of the thread that did it. What
follows on the clips (`clip_media`) is measured apart. Prints one line for each part, and sessions per second.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.large_archive import make_place
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer

CLIPS_PER_SESSION = 2
CHILD = "--child"
MINUTE_S = 60.0

spent: dict[str, list[float]] = {}
"""By part: number, wall seconds, CPU seconds of the threads."""
lock, follows = threading.Lock(), threading.Event()
FOLLOWING = "what follows on the clips"


def add(part: str, wall_s: float, cpu_s: float) -> None:
    with lock:
        so_far = spent.setdefault(part, [0, 0.0, 0.0])
        so_far[0] += 1
        so_far[1] += wall_s
        so_far[2] += cpu_s


def timed(owner: Any, name: str, part: str) -> None:
    """Measure each call of a function; what the run of what follows does is a part of its own."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        if part == FOLLOWING:
            follows.set()
        name = f"{part}, {FOLLOWING}" if follows.is_set() and part != FOLLOWING else part
        try:
            return function(*args, **kwargs)
        finally:
            add(name, time.perf_counter() - wall_s, time.thread_time() - cpu_s)

    setattr(owner, name, measured)


def child() -> None:
    """The command itself, measured."""
    from dagster import DagsterInstance

    from ut_clips_dagster.archive.downloads import Downloader
    from ut_clips_dagster.archive.records import SessionRecords
    from ut_clips_dagster.cli import archive
    from ut_clips_dagster.results_api.client import ResultsApi
    from ut_clips_dagster.storage.metadata_table import MetadataTable

    for owner, name, part in (
        (ResultsApi, "list_clips", "requests, waits for budget included"),
        (ResultsApi, "request_clip", "requests, waits for budget included"),
        (Downloader, "store", "downloads, in threads beside the rest"),
        (SessionRecords, "write_listing", "documents, synced to the disk"),
        (SessionRecords, "add_generation", "documents, synced to the disk"),
        (SessionRecords, "add_file", "documents, synced to the disk"),
        (MetadataTable, "replace", "Delta commits"),
        (MetadataTable, "compact", "Delta compactions"),
        (DagsterInstance, "handle_new_event", "Dagster events"),
        (archive, "make_follow_ons", FOLLOWING),
        (archive, "archive_sessions", "the archiving run"),
    ):
        timed(owner, name, part)
    begun_s = time.process_time()
    if not archive.archive_once([]):
        raise SystemExit("An archive was left unfinished.")
    spent["the process, CPU of all threads"] = [1, 0.0, time.process_time() - begun_s]
    print(json.dumps(spent))


def archive_all(sessions: int, limit: int, scale: float, scratch: Path, dagster_yaml: Path | None) -> None:
    config = SimulatorConfig(
        sessions=sessions, clips_total=sessions * CLIPS_PER_SESSION, rate_limit=limit, time_scale=scale
    )
    with SimulatorServer(config) as server:
        place = make_place(scratch / str(sessions), server, scale)
        if dagster_yaml:
            shutil.copy(dagster_yaml, place.home / "dagster.yaml")
        told = {**os.environ, **place.environment, "UT_CLIPS_TRANSCRIPTS": "off"}
        command = [sys.executable, "-m", "benchmarks.budget", CHILD]
        done = subprocess.run(command, env=told, stdout=subprocess.PIPE, text=True, check=True)
        asked = [e for e in server.requests.entries() if e.operation.value in ("list_clips", "get_clip")]
    refused = sum(e.status == httpx.codes.TOO_MANY_REQUESTS for e in asked)
    took_s = (asked[-1].at - asked[0].at).total_seconds()
    parts: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{sessions} sessions, {sessions * CLIPS_PER_SESSION} clips, {limit} requests in {MINUTE_S / scale:g} s: "
        f"{len(asked)} requests (429: {refused}) in {took_s:.1f} s; "
        f"{sessions / parts['the archiving run'][1]:.2f} sessions/s"
    )
    for part, (number, wall_s, cpu_s) in sorted(parts.items()):
        print(
            f"  {part:45} {number:7.0f}   {1000 * wall_s / sessions:8.1f} ms and "
            f"{1000 * cpu_s / sessions:8.1f} ms of CPU a session   {1000 * wall_s / number:9.1f} ms each"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--limit", type=int, default=1000, help="requests in a window")
    parser.add_argument("--time-scale", type=float, default=1.0)
    parser.add_argument("--dagster-yaml", type=Path, help="of the instance, with another storage than SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for sessions in options.sessions:
            archive_all(sessions, options.limit, options.time_scale, Path(scratch), options.dagster_yaml)


if __name__ == "__main__":
    if CHILD in sys.argv:
        child()
    else:
        main()
