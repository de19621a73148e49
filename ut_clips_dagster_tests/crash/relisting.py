"""Three processes list the same complete sessions again, at the same time: the rows say what the documents say."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.rows import clip_metadata, differing_sessions
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.metadata_table import MetadataTable

from .worker import FINISHED, Job, open_store
from .zygote import Workers

PROCESSES = 3
SESSIONS = 6


@dataclass
class Relisted:
    """What was seen."""

    rounds: int
    differing: int
    """Rounds after which some session's rows were not what its documents say."""
    took_s: float

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds of {PROCESSES} processes over {SESSIONS} sessions: "
            f"rows differed from the documents in {self.differing}. {self.took_s:.0f} s."
        )


def relist(archive: str, folder: Path, rounds: int, environment: dict[str, str]) -> Relisted:
    """So many rounds; a clip is renamed before each, so that old rows would be wrong ones, too."""
    began, differing = time.monotonic(), 0
    config = SimulatorConfig(rate_limit=1_000_000, sessions=0, generation_s=0.02)
    with SimulatorServer(config) as server, ExitStack() as stack:
        sessions = [server.world.add_session(clips=1).session_id for _ in range(SESSIONS)]
        everybody = [stack.enter_context(Workers(environment)) for _ in range(PROCESSES)]
        test_id, events = server.world.test_ids[0], str(folder / "events")
        job = Job(archive=archive, api_url=server.url, test_id=test_id, events=events).model_dump_json()
        everybody[0].start(job)
        assert everybody[0].wait() == FINISHED
        for number in range(rounds):
            for session_id in sessions:
                clip = server.world.clips(session_id)[0]
                server.world.rename_clip(session_id, clip.clip_uuid, f"Name {number}")
            for workers in everybody:
                workers.start(job)
            assert {workers.wait() for workers in everybody} == {FINISHED}
            differing += bool(_differing(archive, sessions))
    return Relisted(rounds, differing, time.monotonic() - began)


def _differing(archive: str, sessions: list[str]) -> set[str]:
    store = open_store(archive)
    records, table = SessionRecords(store), MetadataTable(store.uri).read()
    found: set[str] = set()
    for session_id in sessions:
        rows = table[table["session_id"] == session_id]
        found |= differing_sessions(clip_metadata(records.read(session_id)), rows)
    return found
