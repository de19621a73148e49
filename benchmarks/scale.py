"""What 100,000 known sessions cost, beside 100, in one run on one machine.

    .venv/bin/python -m benchmarks.scale [--sessions 100000] [--clips-per-session 3] [--crawl 10500] [--keep DIRECTORY]

Ticks are those of Dagster's own daemon code, with a code server in its own process: from the start of the tick to its
last write. A platform is made with copies of archived sessions, see `large_archive`; that takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from unittest.mock import patch

from dagster import DagsterInstance, build_sensor_context
from deltalake import DeltaTable

from benchmarks.daemon import Tick, daemon
from benchmarks.large_archive import SESSIONS_PER_RUN, Place, add_sessions, make_place, multiply, run_job
from ut_clips_dagster.archive.plan import History, plan
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.relisting import next_relist
from ut_clips_dagster.definitions import archive_resource, build_definitions
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.sensors.late_clips import Cursor as LateCursor
from ut_clips_dagster.sensors.new_sessions import Cursor as NewCursor
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.metadata_table import TABLE

TIME_SCALE = 1000.0
KNOWN_BEFORE = 100
PAIRED_RUNS = 10
NEW_AT_ONCE = 100
BY_DAEMON = 3
"""Ticks of a crawl at its beginning and its end that the daemon makes; those between are made in process."""


def simulator(sessions: int = 0) -> SimulatorServer:
    """One whose limit does not limit: what is left is our own cost."""
    return SimulatorServer(SimulatorConfig(sessions=sessions, clips_total=0, time_scale=TIME_SCALE, rate_limit=10**9))


def row(what: str, target: str, figure: str, *, met: bool | None = None) -> None:
    mark = "" if met is None else "yes" if met else "NO"
    print(f"{what:<66} {target:>12} {figure:>34} {mark:>4}", flush=True)


def build(root: Path, server: SimulatorServer, sessions: int, clips: int) -> Place:
    place = make_place(root, server, TIME_SCALE)
    templates = add_sessions(place, server, SESSIONS_PER_RUN, clips)
    run_job(place, templates)
    multiply(place, templates, sessions)
    return place


@dataclass(frozen=True)
class RunCost:
    """Seconds of a run, and those of it in which Dagster lists all partitions (to find the keys of a range)."""

    seconds: float
    listing: float
    listings: int


def cost_of_run(place: Place, server: SimulatorServer, clips: int) -> RunCost:
    keys = add_sessions(place, server, SESSIONS_PER_RUN, clips)
    listings: list[float] = []
    get = DagsterInstance.get_dynamic_partitions

    def timed(self: DagsterInstance, partitions_def_name: str) -> Sequence[str]:
        begun = time.monotonic()
        try:
            return get(self, partitions_def_name)
        finally:
            listings.append(time.monotonic() - begun)

    begun = time.monotonic()
    with patch.object(DagsterInstance, "get_dynamic_partitions", timed):
        run_job(place, keys)
    return RunCost(time.monotonic() - begun, sum(listings), len(listings))


def runs(small: tuple[Place, SimulatorServer], large: tuple[Place, SimulatorServer], clips: int) -> None:
    """Runs of ten new sessions, in turn beside few and beside many known ones."""
    few, many, files = [], [], []
    for place in (small, large):
        cost_of_run(*place, clips)  # imports
    for _ in range(PAIRED_RUNS):
        few.append(cost_of_run(*small, clips))
        many.append(cost_of_run(*large, clips))
        files.append(len(DeltaTable(str(large[0].archive / TABLE)).file_uris()))
    before, after = (statistics.median(cost.seconds for cost in costs) for costs in (few, many))
    listing = statistics.median(cost.listing for cost in many)
    ours_before, ours = (statistics.median(cost.seconds - cost.listing for cost in costs) for costs in (few, many))
    row("a run of 10 new sessions, beside 100 known ones", "", f"{before:.2f} s")
    row("  beside all", "<= 1.2 x", f"{after:.2f} s = {after / before:.2f} x", met=after <= 1.2 * before)
    row(f"  of it Dagster, which lists all partitions {many[-1].listings} times", "", f"{listing:.2f} s")
    row("  without that", "<= 1.2 x", f"{ours:.2f} s = {ours / ours_before:.2f} x", met=ours <= 1.2 * ours_before)
    bound = plan(History(clips_per_session=clips), SESSIONS_PER_RUN, SESSIONS_PER_RUN, 0).duration_s
    total = (bound + after) / (bound + before)
    row(
        f"  with the {bound:.0f} s that the API's budget takes for them", "<= 1.2 x", f"{total:.3f} x", met=total <= 1.2
    )
    row("files of the table after each of those runs", "~ 60 small", f"{files[0]} ... {files[-1]}, most {max(files)}")


def tick_row(what: str, tick: Tick, requests: int) -> None:
    figure = f"{tick.seconds:.2f} s, {requests} req., {tick.runs} runs, {tick.cursor_bytes / 1000:,.0f} kB"
    row(what, "< 5 s", figure, met=tick.seconds < 5)


def ticks(place: Place, server: SimulatorServer, known: int, clips: int) -> None:
    """Each sensor, in the daemon."""
    with place.entered() as (instance, settings), daemon(instance) as it:
        records = archive_resource(settings).records()
        steady = late_cursor(records, instance.get_dynamic_partitions(SESSIONS))

        def measured(what: str, name: str, cursor: str | None = None) -> None:
            server.requests.clear()
            tick = it.tick(name, cursor)
            tick_row(f"{known:,}: {what}", tick, server.requests.api_count())

        for name in ("new_sessions", "new_sessions", "unfinished_sessions"):
            it.tick(name)  # the code server imports, and learns what was added beside it
        measured("new_sessions, nothing new", "new_sessions")
        measured("unfinished_sessions, nothing unfinished", "unfinished_sessions")
        measured("late_clips, cursor unreadable", "late_clips", "unreadable")
        measured("late_clips, a tenth of the sessions to come", "late_clips", steady)
        for _ in range(NEW_AT_ONCE):
            server.world.add_session(clips=clips)
        left, number = NEW_AT_ONCE, 0
        while left > 0:
            number += 1
            before = len(instance.get_dynamic_partitions(SESSIONS))
            measured(f"new_sessions, {left} of 100 new at once left (tick {number})", "new_sessions")
            found = len(instance.get_dynamic_partitions(SESSIONS)) - before
            left -= found or left
        measured("unfinished_sessions, 100 in flight", "unfinished_sessions")


def late_cursor(records: SessionRecords, order: Sequence[str]) -> str:
    """The cursor as it is when all documents were read."""
    recent = order[-len(order) // 8 :]
    now = datetime.now(timezone.utc)
    due = {key: at for key in recent if (at := next_relist(records.read(key), now)) is not None}
    soon = now + timedelta(hours=1)
    return LateCursor(seen=len(order), due={key: max(at, soon) for key, at in due.items()}).model_dump_json()


def crawl(root: Path, sessions: int) -> None:
    """The first crawl of a large test: the first and the last ticks by the daemon, those between in process."""
    with simulator(sessions) as server:
        place = make_place(root, server, TIME_SCALE)
        number, slowest, last_ticks = 0, 0.0, 0
        with place.entered() as (instance, _), daemon(instance) as it:
            cursor = ""
            while not is_read(cursor):
                known = len(instance.get_dynamic_partitions(SESSIONS))
                near_end = known > sessions - 60
                if number < BY_DAEMON or near_end:
                    tick = it.tick("new_sessions", cursor or None)
                    slowest, last_ticks = max(slowest, tick.seconds), last_ticks + near_end
                    cursor = it.cursor("new_sessions")
                else:
                    cursor = tick_in_process(place, cursor)
                number += 1
            known = len(instance.get_dynamic_partitions(SESSIONS))
        requests = server.requests.api_count()
    figure = f"{number} ticks, {requests} req., {known:,} found"
    row(f"first crawl of a test with {sessions:,} sessions", "bounded", figure, met=known == sessions)
    row(f"  slowest of {BY_DAEMON + last_ticks} ticks by the daemon, at its beginning and its end", "< 5 s",
        f"{slowest:.2f} s", met=slowest < 5)  # fmt: skip


def is_read(cursor: str) -> bool:
    """Whether the list was read to its end."""
    state = NewCursor.read(cursor).tests.get(DEMO_TEST_ID)
    return state is not None and state.read_to_end_at is not None and state.offset == 0


def tick_in_process(place: Place, cursor: str) -> str:
    """A tick without the daemon's events and runs: partitions are added."""
    with place.entered() as (instance, settings):
        definitions = build_definitions(settings)
        sensor = definitions.get_repository_def().get_sensor_def("new_sessions")
        resources = {key: (definitions.resources or {})[key] for key in sensor.required_resource_keys}
        with build_sensor_context(instance, cursor=cursor, resources=resources) as context:
            result = sensor(context)
        for request in result.dynamic_partitions_requests or ():
            instance.add_dynamic_partitions(SESSIONS, list(request.partition_keys))
    return str(result.cursor)


def commands(place: Place) -> None:
    """Whole commands, as a person waits for them; the first of each, which writes Python's bytecode, is not counted."""
    environment = {**os.environ, **place.environment, "PYTHONPYCACHEPREFIX": str(place.root / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    some = next(iter((place.archive / "sessions").iterdir())).name
    sql = {
        "sql: group by status": "select status, count(*) from clip_metadata group by 1",
        "sql: where session_id = ...": f"select * from clip_metadata where session_id = '{some}'",
        "sql: clips, bytes and longest wait by day": "select date_trunc('day', downloaded_at) as day, count(*), "
        "sum(size_bytes), max(waited_s) from clip_metadata where listed group by 1 order by 1",
    }
    for name, limit, arguments in (
        ("status", 5.0, ["status"]),
        ("status --json", 5.0, ["status", "--json"]),
        ("plan", 5.0, ["plan"]),
        ("archive, nothing to do", 30.0, ["archive"]),
        *((name, 2.0, ["sql", query]) for name, query in sql.items()),
    ):
        took = []
        for _ in range(4):
            begun = time.monotonic()
            command = [str(Path(sys.executable).parent / "ut-clips"), *arguments]
            subprocess.run(command, check=True, env=environment, capture_output=True)
            took.append(time.monotonic() - begun)
        row(f"ut-clips {name}", f"< {limit:.0f} s", f"{statistics.median(took[1:]):.2f} s",
            met=statistics.median(took[1:]) < limit)  # fmt: skip


def dagster_alone(places: Sequence[tuple[str, Place]]) -> None:
    """What Dagster itself takes, beneath ours."""
    for name, place in places:
        with place.entered() as (instance, _):
            begun = time.monotonic()
            known = len(instance.get_dynamic_partitions(SESSIONS))
            listed = time.monotonic()
            size = (place.home / "history" / "runs" / "index.db").stat().st_size
        row(f"Dagster, {name}: all partitions' keys", "", f"{known:,} in {listed - begun:.2f} s")
        row(f"Dagster, {name}: event index", "", f"{size / 1e6:,.0f} MB, {size / known / 1000:.0f} kB a session")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--clips-per-session", type=int, default=3)
    parser.add_argument("--crawl", type=int, default=10_500, help="sessions of the first crawl; 0: leave it out")
    parser.add_argument("--keep", type=Path, help="an empty directory to build in, and to leave as it is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root, clips = options.keep or Path(scratch), options.clips_per_session
        print(f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        row("what", "target", "figure")
        with simulator() as server, simulator() as other:
            begun = time.monotonic()
            small = build(root / "small", other, KNOWN_BEFORE, clips)
            large = build(root / "large", server, options.sessions, clips)
            row("built", "", f"{time.monotonic() - begun:.0f} s")
            runs((small, other), (large, server), clips)
            dagster_alone([("few", small), ("many", large)])
            commands(large)
            ticks(small, other, KNOWN_BEFORE, clips)
            ticks(large, server, options.sessions, clips)
        if options.crawl:
            crawl(root / "crawl", options.crawl)


if __name__ == "__main__":
    main()
