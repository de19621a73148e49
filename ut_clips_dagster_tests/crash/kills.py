"""`kill -9` at random moments over one archive, and what must be true after each and in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ut_clips_dagster.archive.pipeline import PARALLEL_DOWNLOADS
from ut_clips_dagster.archive.records import CLIPS, SESSIONS, SessionRecords
from ut_clips_dagster.archive.verification import unrecorded
from ut_clips_dagster.simulator import DEMO_TEST_ID
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.store import Store

from .worker import Job, open_store
from .world import RemoteWorld, command, environment, simulator_process
from .zygote import Workers

CLIPS_PER_SESSION = 6
BACKLOG = 24
"""Clips that are always left to archive, so that no process runs out of work before it is killed."""
SMALLEST, LARGEST = 500_000, 3_000_000
LONGEST_LIFE_S = 1.5
SLOW_BODY = "slow_body:delay_s=0.02"
EVERY_NTH_IS_THE_COMMAND = 10
COMMAND_START_S = 240.0


@dataclass
class Proof:
    """What was seen."""

    kills: int = 0
    commands_killed: int = 0
    clips: int = 0
    sessions: int = 0
    media_requests: int = 0
    repeated: int = 0
    """Media requests beyond one for each clip."""
    most_lost_by_a_kill: int = 0
    """Downloads begun and not recorded when a process died: those are repeated, and no others."""
    kills_that_lost: int = 0
    unrecorded_at_some_kill: int = 0
    took_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kills} x kill -9 ({self.commands_killed} of them of `ut-clips archive`), "
            f"{self.sessions} sessions, {self.clips} clips: no wrong file at any time, all there in the end.\n"
            f"{self.media_requests} media requests, {self.repeated} of them repeated by "
            f"{self.kills_that_lost} kills that hit downloads, at most {self.most_lost_by_a_kill} by one "
            f"(allowed: {PARALLEL_DOWNLOADS}). {self.unrecorded_at_some_kill} times a clip had its final name and was "
            f"not recorded yet. {self.took_s:.0f} s."
        )


@dataclass
class _Archive:
    """The archive, looked at after each kill."""

    world: RemoteWorld
    store: Store
    known: dict[str, str] = field(default_factory=dict)
    """Final names that were read and found right, with what another content or another write would change."""

    def look(self) -> set[str]:
        """Assert that no final name, no document and no record is wrong; returns the clips recorded as stored."""
        for path in self.store.walk(CLIPS):
            session_id, name = path.split("/")[2:]
            if not name.endswith(".mp4"):  # what is made of a clip: verify compares it with its document
                continue
            seal = self._seal(path)
            if self.known.get(path) == seal:
                continue
            file = self.world.clips[session_id][name.removesuffix(".mp4")]
            assert b"".join(self.store.read(path)) == file.read(), f"{path} holds wrong bytes"
            self.known[path] = seal
        records = SessionRecords(self.store)
        recorded = set()
        for session_id in {path.split("/")[1] for path in self.store.walk(SESSIONS)}:
            inspection = records.inspect(session_id)
            assert not inspection.damaged, f"session {session_id}: {inspection.damaged} damaged"
            for stored in inspection.record.clip_files.files:
                assert stored.storage_path in self.known, f"{stored.storage_path} is recorded and not there"
                assert stored.size_bytes == self.store.size_bytes(stored.storage_path)
                recorded.add(stored.clip_uuid)
        return recorded

    def _seal(self, path: str) -> str:
        if not isinstance(self.store, LocalStore):
            return self.store.checksum(path)
        stat = (Path(self.store.uri) / path).stat()
        return f"inode {stat.st_ino}, changed at {stat.st_mtime_ns}"


def prove(folder: Path, kills: int, seed: int = 0, archive_uri: str = "") -> Proof:
    """Kill so many processes that work on one archive, in the folder unless named otherwise, then let one finish.

    Raises:
        AssertionError: something is not as it must be.
    """
    began = time.monotonic()
    proof = Proof()
    with simulator_process(SLOW_BODY, seed=seed) as world, Workers({}) as workers:
        uri = archive_uri or str(folder / "archive")
        env = environment(world, folder, UT_CLIPS_ARCHIVE=uri)
        (folder / "dagster").mkdir()
        archive = _Archive(world, open_store(uri))
        dice = random.Random(seed)
        asked: Counter[str] = Counter()
        recorded: set[str] = set()
        while proof.kills < kills:
            while sum(map(len, world.clips.values())) - len(recorded) < BACKLOG:
                world.add_session(CLIPS_PER_SESSION, SMALLEST, LARGEST)
            by_command = (proof.kills + 1) % min(EVERY_NTH_IS_THE_COMMAND, kills) == 0
            if by_command:
                _kill_command(world, env, dice.uniform(0, LONGEST_LIFE_S))
            elif not _kill_worker(world, workers, uri, folder / "events", dice.uniform(0.02, LONGEST_LIFE_S)):
                continue
            time.sleep(0.2)  # the simulator notices that its client has gone
            before, recorded = recorded, archive.look()
            downloads = _asked(world, before, asked)
            lost = len(downloads - recorded)
            proof.kills += 1
            proof.commands_killed += by_command
            proof.most_lost_by_a_kill = max(proof.most_lost_by_a_kill, lost)
            proof.kills_that_lost += bool(lost)
            proof.unrecorded_at_some_kill += len(archive.known) - len(recorded)
            assert lost <= PARALLEL_DOWNLOADS, f"one kill lost {lost} downloads"
        _finish(world, env)
        everything = {clip for clips in world.clips.values() for clip in clips}
        assert archive.look() == everything
        _asked(world, recorded, asked)
        left = unrecorded(archive.store, set(archive.known))
        assert [path for path in left if path.endswith(".mp4")] == []  # verify knows what is made of the clips
        assert len(archive.known) == len(everything)
    proof.clips, proof.sessions = len(everything), len(world.clips)
    proof.media_requests = sum(asked.values())
    proof.repeated = proof.media_requests - len(asked)
    proof.took_s = time.monotonic() - began
    assert set(asked) == everything
    assert proof.repeated <= PARALLEL_DOWNLOADS * proof.kills
    return proof


def prove_right(world: RemoteWorld, store: Store) -> set[str]:
    """Assert that no final name, no document and no record is wrong; returns the clips recorded as stored."""
    return _Archive(world, store).look()


def _asked(world: RemoteWorld, recorded_before: set[str], asked: Counter[str]) -> set[str]:
    """Clips whose bytes were asked for; asserts that nothing was asked for that had been recorded."""
    requests = world.take_requests()
    of_clips = {str(r["clip_uuid"]) for r in requests if r["operation"] in ("get_clip", "media")}
    assert not of_clips & recorded_before, "what was recorded as stored was requested again"
    media = [str(r["clip_uuid"]) for r in requests if r["operation"] == "media"]
    asked.update(media)
    return set(media)


def _kill_worker(world: RemoteWorld, workers: Workers, archive: str, events: Path, life_s: float) -> bool:
    """Let a worker live so long; False when it ended before it could be killed."""
    job = Job(archive=archive, api_url=world.url, test_id=DEMO_TEST_ID, events=str(events))
    pid = workers.start(job.model_dump_json())
    time.sleep(life_s)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return workers.wait() == -signal.SIGKILL


def _kill_command(world: RemoteWorld, env: dict[str, str], life_s: float) -> None:
    """Kill `ut-clips archive` and all its children, some time after it began to download."""
    process = command("ut-clips", "archive", env=env)
    world.wait_for("media", COMMAND_START_S)
    time.sleep(life_s)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"


def _finish(world: RemoteWorld, env: dict[str, str]) -> None:
    for words in (("archive",), ("verify", "--read-data")):
        code = command("ut-clips", *words, env=env).wait(300)
        log = Path(env["DAGSTER_HOME"]).parent / f"ut-clips-{words[0]}.log"
        assert code == 0, f"{words} ended with {code} at {world.url}: {log.read_text()[-3000:]}"
