"""What must be true in the end: files, documents, Dagster's statuses, and what the commands say."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from dagster import AssetKey, DagsterInstance, RunsFilter

from benchmarks.soak.injuries import has_small_disk
from benchmarks.soak.people import People
from benchmarks.soak.platform import LEAST_FREE_MIB, Platform
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import CLIPS, SessionRecords
from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_LIST, CLIP_METADATA, CLIP_URLS, RELIST
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.run_queue import IN_FLIGHT
from ut_clips_dagster.simulator import SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable

FOUR = (CLIP_LIST, CLIP_URLS, CLIP_FILES, CLIP_METADATA)


class Judge:
    """Compares what there is with what there should be; everything that is wrong is a line."""

    def __init__(self, simulator: SimulatorServer, platform: Platform, people: People) -> None:
        self._world = simulator.world
        self._platform = platform
        self._people = people
        self._store = LocalStore(platform.archive)
        self._records = SessionRecords(self._store)

    def unsettled(self) -> list[str]:
        """What is not done yet, soonest found first; nothing once all is archived and shown so."""
        with self._platform.instance() as instance:
            return [*self._sessions(), *self._statuses(instance), *_in_flight(instance)]

    def verdicts(self) -> dict[str, list[str]]:
        """What was looked at, and everything that is wrong with it."""
        with self._platform.instance() as instance:
            statuses = list(self._statuses(instance))
        return {
            "every file is byte for byte what its clip's cut was": list(self._files()),
            "documents say what UserTesting has": list(self._sessions()),
            "statuses in Dagster are true": statuses,
            "rows are true": list(self._rows()),
            **{f"ut-clips {' '.join(words)}: exit code 0": self._said(*words) for words in self._commands()},
        }

    def _sessions(self) -> Iterator[str]:
        """Each session's documents against the world as it is now."""
        for session in self._world.sessions():
            record = self._records.read(session.session_id)
            there = {
                c.clip_uuid: (c.name, c.time_start_ms, c.time_end_ms) for c in self._world.clips(record.session_id)
            }
            if record.clip_list is None:
                yield f"{record.session_id}: not listed"
            elif not record.is_complete:
                problems = "; ".join(problem.error for problem in record.clip_files.problems)
                yield f"{record.session_id}: not complete: {problems or record.clip_list.malformed or 'no reason'}"
            elif there != _listed(record):
                yield f"{record.session_id}: the listing is not what UserTesting has: {_listed(record)} for {there}"

    def _statuses(self, instance: DagsterInstance) -> Iterator[str]:
        """No false red, no false green: Dagster's partitions against the documents."""
        sessions = {session.session_id for session in self._world.sessions()}
        known = set(instance.get_dynamic_partitions(SESSIONS))
        yield from (f"{key}: no partition" for key in sessions - known)
        yield from (f"{key}: a partition of no session" for key in known - sessions)
        complete = {session_id for session_id in sessions if self._records.read(session_id).is_complete}
        storage = instance.event_log_storage
        for name in FOUR:
            key = AssetKey(name)
            failed = set(storage.get_latest_asset_partition_materialization_attempts_without_materializations(key))
            green = set(instance.get_materialized_partitions(key)) - failed
            yield from (f"{session_id}: {name} is red, and the session is complete" for session_id in complete - green)
            if name in {CLIP_URLS, CLIP_FILES}:
                yield from (f"{session_id}: {name} is green, and it is not complete" for session_id in green - complete)

    def _files(self) -> Iterator[str]:
        """Every file is one that its clip had, and every clip's newest file is that of its present cut."""
        for path in self._store.walk(CLIPS):
            if not path.endswith(".mp4"):
                continue
            clip_uuid = path.split("/")[3].removesuffix(".mp4")
            if self._digest(path) not in self._people.files.get(clip_uuid, set()):
                yield f"{path}: bytes that its clip never had"
        for session in self._world.sessions():
            record = self._records.read(session.session_id)
            listed = {clip.clip_uuid: clip for clip in record.clip_list.listed} if record.clip_list else {}
            for clip in self._world.clips(session.session_id):
                stored = record.stored(listed[clip.clip_uuid]) if clip.clip_uuid in listed else None
                if stored is None or self._digest(stored.storage_path) != self._people.current_file(clip):
                    yield f"{session.session_id}: clip {clip.clip_uuid} is not byte-equal"

    def _rows(self) -> Iterator[str]:
        rows = MetadataTable(self._store.uri).read()
        there = {clip.clip_uuid for s in self._world.sessions() for clip in self._world.clips(s.session_id)}
        stored = set(rows[(rows["status"] == "STORED") & rows["listed"]]["clip_uuid"])
        yield from (f"row of clip {uuid}: not STORED and listed, though it is" for uuid in there - stored)
        yield from (f"row of clip {uuid}: listed, though UserTesting does not" for uuid in stored - there)
        if rows["clip_uuid"].duplicated().any():
            yield "a clip has two rows"

    def _commands(self) -> tuple[tuple[str, ...], ...]:
        health = ("health", "--free", f"{LEAST_FREE_MIB}M") if has_small_disk(self._platform.archive) else ("health",)
        return ("verify", "--read-data"), health, ("status",)

    def _said(self, *words: str) -> list[str]:
        code, output = self._platform.command(*words)
        return [f"it ends with {code}:\n{output}"] if code else []

    def _digest(self, path: str) -> str:
        return sha256(b"".join(self._store.read(path))).hexdigest()


def _listed(record: SessionRecord) -> dict[str, tuple[str, int, int]]:
    clips = record.clip_list.listed if record.clip_list else ()
    return {c.clip_uuid: (c.name, c.cut.time_start_ms, c.cut.time_end_ms) for c in clips}


def _in_flight(instance: DagsterInstance) -> Iterator[str]:
    """Runs that archive or follow on that; listing again goes on for ever."""
    for run in instance.get_runs(RunsFilter(statuses=IN_FLIGHT)):
        if run.job_name != RELIST:
            yield f"run {run.run_id} of {run.job_name} is {run.status.value}"
