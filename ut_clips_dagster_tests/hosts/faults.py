"""A backfill over two hosts; one is killed midway, and later one is cut off for a while; then all must be as it should.

What is looked at: every session is materialized, each clip was stored once, `verify --read-data` finds nothing, and no
run that Dagster ended goes on writing.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dagster import AssetKey, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG
from rich.console import Console

from ut_clips_dagster_tests.waiting import until

from .bench import ASSETS, OTHER_TEST_ID, Bench, bench
from .engines import Engine
from .lan import Host

CONSOLE = Console(width=160, highlight=False, markup=False)
TIME_SCALE = 4.0
SESSIONS, CLIPS = 48, 2
MIDWAY = 3
"""Clips that a run has stored when its host is hit."""
CUT_S = 90.0
WRITES_WITHIN_S = 10.0
"""What was on its way when the link broke arrives when it is back; after this time an ended run writes nothing."""
GONE_WITHIN_S = 60.0
"""A run that waits for a database looks again when TCP does: after a cut of 90 s that is up to a minute later."""
MEDIA_BYTES = 3_000_000


@dataclass
class Report:
    """What happened, as it is printed, and what is not as it should be."""

    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)
        CONSOLE.print(f"{time.strftime('%H:%M:%S')} {text}")

    def expect(self, true: object, otherwise: str) -> None:
        if not true:
            self.wrong.append(otherwise)
            self.say(f"WRONG: {otherwise}")


def prove(engine: Engine, logs: Path) -> Report:
    """Build it, hit it, and judge it."""
    report = Report()
    with bench(engine, ("a", "b"), logs, TIME_SCALE) as its:
        sessions = []
        for _ in range(SESSIONS):
            session = its.simulator.world.add_session(test_id=OTHER_TEST_ID)
            for _ in range(CLIPS):
                its.simulator.world.add_clip(session.session_id, media_size_bytes=MEDIA_BYTES)
            sessions.append(session.session_id)
        began = time.time()
        backfill_id = its.backfill(sessions)
        its.start_daemon()
        report.say(f"{SESSIONS} sessions with {SESSIONS * CLIPS} clips are asked for as a backfill")
        hit = [_kill_midway(its, backfill_id, report), *_cut_midway(its, backfill_id, report)]
        until("the backfill ends", lambda: _ended(its, backfill_id), 1200, 1)
        for run in hit:  # only now: one batch at a time, and a retry is queued behind the others
            _tell_retry(its, run, report)
        report.say(f"the backfill ended after {time.time() - began:.0f} s")
        _judge(its, sessions, report)
    return report


def _kill_midway(its: Bench, backfill_id: str, report: Report) -> DagsterRun:
    run, host = _midway(its, backfill_id)
    killed_at = time.time()
    host.kill()
    report.say(f"killed host {host.name}, where run {run.run_id[:8]} had stored {MIDWAY} clips")
    found_s = until("the killed run is found", lambda: _status(its, run) is DagsterRunStatus.FAILURE, 300)
    report.say(f"found after {found_s:.0f} s")
    report.expect(not its.writes(host, killed_at + 1), "the killed host wrote")
    host.boot()
    its.start_worker(host.name)
    return run


def _cut_midway(its: Bench, backfill_id: str, report: Report) -> list[DagsterRun]:
    run, host = _midway(its, backfill_id)
    cut_at = time.time()
    host.cut()
    report.say(f"cut host {host.name} off, where run {run.run_id[:8]} had stored {MIDWAY} clips")
    ended_at = None
    while time.time() < cut_at + CUT_S:
        if ended_at is None and _status(its, run) is DagsterRunStatus.FAILURE:
            ended_at = time.time()
        time.sleep(0.3)
    lived = bool(host.processes(run.run_id))
    host.join()
    joined_at = time.time()
    if ended_at is None:
        report.say(f"link back after {joined_at - cut_at:.0f} s; Dagster did not end the run: it may go on")
        return []
    report.say(f"found after {ended_at - cut_at:.0f} s; link back after {joined_at - cut_at:.0f} s; "
               f"the ended run's process {'was still there' if lived else 'had ended by itself'}")  # fmt: skip
    gone_s = until("the ended run's process is gone", lambda: not host.processes(run.run_id), 300)
    late = its.writes(host, ended_at, joined_at + gone_s) if lived else []
    last_s = max((record.ended for record in late), default=joined_at) - joined_at
    report.say(f"gone {gone_s:.1f} s later; it wrote {len(late)} times more, the last time {last_s:.1f} s later")
    for record in late:
        report.say(f"    {record.method} {record.path} after {record.began - joined_at:.1f} s: {record.status}")
    report.expect(last_s <= WRITES_WITHIN_S, "a run that Dagster ended goes on writing")
    report.expect(gone_s <= GONE_WITHIN_S, "a run that Dagster ended does not end")
    return [run]


def _judge(its: Bench, sessions: list[str], report: Report) -> None:
    for name in ASSETS:
        done = set(its.instance.get_materialized_partitions(AssetKey(name)))
        report.expect(done >= set(sessions), f"{len(set(sessions) - done)} sessions of {name} are not materialized")
    runs = its.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
    report.say(f"{len(sessions)} sessions are materialized; {len(runs)} runs are still at work")
    creates = Counter(
        record.path
        for record in its.s3.requests
        if record.operation == "upload_final" and record.path.endswith(".mp4") and record.status == 200
    )
    report.say(f"{len(creates)} clips were stored, in {sum(creates.values())} writes")
    report.expect(len(creates) == SESSIONS * CLIPS, "not every clip is stored")
    report.expect(set(creates.values()) == {1}, "a clip was stored more than once")
    verified = its.command("verify", "--read-data")
    report.say(f"verify --read-data: exit code {verified.returncode}: {' '.join(verified.stdout.split())[-200:]}")
    report.expect(verified.returncode == 0, f"verify finds differences:\n{verified.stdout}")


def _midway(its: Bench, backfill_id: str) -> tuple[DagsterRun, Host]:
    """A run of the backfill, no retry, that has stored some clips; and its host."""
    found: list[tuple[DagsterRun, Host]] = []

    def stored_some() -> bool:
        started = RunsFilter(statuses=[DagsterRunStatus.STARTED], tags={BACKFILL_ID_TAG: backfill_id})
        for record in its.instance.get_run_records(started):
            run, host = record.dagster_run, its.host_of(record.dagster_run)
            if host is None or PARENT_RUN_ID_TAG in run.tags or record.start_time is None:
                continue
            clips = [w for w in its.writes(host, record.start_time) if w.path.endswith(".mp4")]
            if len(clips) >= MIDWAY:
                found.append((run, host))
                return True
        return False

    until("a run is midway", stored_some, 600, 0.3)
    return found[0]


def _tell_retry(its: Bench, run: DagsterRun, report: Report) -> None:
    retries = its.instance.get_runs(RunsFilter(tags={PARENT_RUN_ID_TAG: run.run_id}))
    for retry in retries:
        host = its.host_of(retry)
        report.say(f"run {run.run_id[:8]} was retried by {retry.run_id[:8]}{f' on {host.name}' if host else ''}")
    report.expect(retries, f"run {run.run_id[:8]} was not retried")


def _status(its: Bench, run: DagsterRun) -> DagsterRunStatus:
    found = its.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def _ended(its: Bench, backfill_id: str) -> bool:
    backfill = its.instance.get_backfill(backfill_id)
    return backfill is not None and backfill.status in BULK_ACTION_TERMINAL_STATUSES
