"""What transcripts cost, and whether a clip waits for them: one saturated batch without them, and one with.

    .venv/bin/python -m benchmarks.transcripts [--time-scale 10] [--seed 0]

20 sessions and 60 clips through the real `ut-clips archive`, on the simulator at ten requests a minute, twice over the
same world. Prints what `ut-clips plan` told before, the requests, and which request and when the last clip's was.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.large_archive import make_place
from benchmarks.plan import ut_clips
from ut_clips_dagster.simulator import Operation, SimulatorConfig, SimulatorServer

SESSIONS, CLIPS = 20, 60
"""Three clips a session, which is what `plan` takes for granted of an archive without history."""
COUNTED = (Operation.LIST_SESSIONS, Operation.LIST_CLIPS, Operation.GET_CLIP, Operation.GET_TRANSCRIPT)


@dataclass(frozen=True)
class Batch:
    """What one batch asked."""

    planned: int
    asked: Mapping[str, int]
    transcripts_due: int
    last_clip: int
    """Which request the last one for a clip was, counted from 1."""
    last_clip_s: float
    """When it was, in simulated seconds after the first."""

    @property
    def requests(self) -> int:
        """All of them but the list of sessions, which `plan` does not count."""
        return sum(self.asked.values()) - self.asked[Operation.LIST_SESSIONS.value]


def archive(scratch: Path, scale: float, seed: int, transcripts: str) -> Batch:
    config = SimulatorConfig(sessions=SESSIONS, clips_total=CLIPS, time_scale=scale, seed=seed)
    with SimulatorServer(config) as server:
        environment = {
            **make_place(scratch / transcripts, server, scale).environment,
            "UT_CLIPS_TRANSCRIPTS": transcripts,
        }
        planned = json.loads(ut_clips(environment, "plan", "--sessions", str(SESSIONS), "--json"))["requests"]
        server.requests.clear()
        ut_clips(environment, "archive")
        entries = [entry for entry in server.requests.entries() if entry.operation in COUNTED]
        due = sum(1 for session in server.world.sessions() if server.world.clips(session.session_id))
    last = max(number for number, entry in enumerate(entries) if entry.operation is Operation.GET_CLIP)
    return Batch(
        planned,
        Counter(entry.operation.value for entry in entries),
        due,
        last + 1,
        (entries[last].at - entries[0].at).total_seconds() * scale,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-scale", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}; {SESSIONS} sessions, {CLIPS} "
        f"clips, ten requests a minute, time x {options.time_scale:g}; S + 2C = {SESSIONS + 2 * CLIPS}"
    )
    batches = {}
    with tempfile.TemporaryDirectory() as scratch:
        for transcripts in ("off", "on"):
            batch = batches[transcripts] = archive(Path(scratch), options.time_scale, options.seed, transcripts)
            print(
                f"transcripts {transcripts:<3}   planned {batch.planned}, asked {batch.requests} {dict(batch.asked)}   "
                f"last clip: request {batch.last_clip}, after {batch.last_clip_s:.0f} s"
            )
    later = batches["on"].last_clip - batches["off"].last_clip
    print(f"last clip with transcripts, beside without: {later:+d} requests: {'NO' if later > 0 else 'yes'}")
    more, due = batches["on"].asked[Operation.GET_TRANSCRIPT.value], batches["on"].transcripts_due
    print(f"one request for each session that has a clip: {more} of {due}: {'yes' if more == due else 'NO'}")


if __name__ == "__main__":
    main()
