"""What transcripts cost, and whether a clip waits for them: one saturated batch without them, and one with.

    .venv/bin/python -m benchmarks.transcripts [--time-scale 10] [--seed 0]

20 sessions and 60 clips through the real `ut-clips archive`, on the simulator at ten requests a minute, twice over the
same world. Prints what `ut-clips plan` told before, the requests, and which request and when the last clip's was.

Then, on a simulated clock, such a batch that is launched at any moment while the transcripts of older sessions are
fetched as Dagster does it: a run that sees the launch, and sends nothing more until the batch is done.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.discrete_events import PacedApi, Progress, SimulatedApi, Simulation, World, archive
from benchmarks.large_archive import make_place
from benchmarks.plan import ut_clips
from ut_clips_dagster.archive.poller import Batch
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.results_api.pacing import Operation as PacedOperation
from ut_clips_dagster.simulator import Operation, SimulatorConfig, SimulatorServer

SESSIONS, CLIPS = 20, 60
"""Three clips a session, which is what `plan` takes for granted of an archive without history."""
COUNTED = (Operation.LIST_SESSIONS, Operation.LIST_CLIPS, Operation.GET_CLIP, Operation.GET_TRANSCRIPT)


OLDER = 500
"""Sessions that have their clips, and whose transcripts are being fetched when the batch is launched."""
START_S = 8.0
"""From the launch of a run to its first request."""
LAUNCHES = 40


@dataclass(frozen=True)
class Asked:
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


def batch_of_clips(scratch: Path, scale: float, seed: int, transcripts: str) -> Asked:
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
    return Asked(
        planned,
        Counter(entry.operation.value for entry in entries),
        due,
        last + 1,
        (entries[last].at - entries[0].at).total_seconds() * scale,
    )


def beside(seed: int, launched_at: float, *, transcripts: bool) -> tuple[float, int, int]:
    """Seconds from a batch's launch to its last clip, and transcripts asked for before and after the launch."""
    dice = random.Random(seed)
    counts = [dice.randint(0, 6) for _ in range(SESSIONS)]
    clips = tuple(tuple(dice.lognormvariate(math.log(8), 0.5) for _ in range(count)) for count in counts)
    simulation = Simulation()
    api, progress = SimulatedApi(World((*clips, *[()] * OLDER)), simulation), Progress()
    asked = [0, 0]

    def batch() -> None:
        archive(api, list(range(SESSIONS)), progress, PollingPolicy(), batch=Batch(), seed=seed)
        simulation.stop()

    def others() -> None:
        paced = PacedApi(api, seed + 1)
        paced.pacer.shared.spread = True
        for number in range(OLDER):
            simulation.sleep(paced.pacer.delay_s(PacedOperation.GET_TRANSCRIPT))
            if simulation.now >= launched_at:
                return
            asked[simulation.now >= launched_at] += 1
            paced.list_clips(str(SESSIONS + number))

    if transcripts:
        simulation.spawn(others)
    simulation.spawn(batch, at=launched_at + START_S)
    simulation.run()
    return progress.all_s - launched_at, asked[0], asked[1]


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
            batch = batches[transcripts] = batch_of_clips(Path(scratch), options.time_scale, options.seed, transcripts)
            print(
                f"transcripts {transcripts:<3}   planned {batch.planned}, asked {batch.requests} {dict(batch.asked)}   "
                f"last clip: request {batch.last_clip}, after {batch.last_clip_s:.0f} s"
            )
    later = batches["on"].last_clip - batches["off"].last_clip
    print(f"last clip with transcripts, beside without: {later:+d} requests: {'NO' if later > 0 else 'yes'}")
    more, due = batches["on"].asked[Operation.GET_TRANSCRIPT.value], batches["on"].transcripts_due
    print(f"one request for each session that has a clip: {more} of {due}: {'yes' if more == due else 'NO'}")

    moments = [(seed, 60 + 7.3 * seed) for seed in range(LAUNCHES)]
    without = [beside(seed, at, transcripts=False) for seed, at in moments]
    with_them = [beside(seed, at, transcripts=True) for seed, at in moments]
    later = [on[0] - off[0] for on, off in zip(with_them, without, strict=True)]
    print(
        f"launched at {LAUNCHES} moments beside transcripts of older sessions: {sum(each[1] for each in with_them)} "
        f"asked for before the launch, {sum(each[2] for each in with_them)} after it; the last clip comes "
        f"{statistics.fmean(later):+.1f} s later on average ({min(later):+.1f} to {max(later):+.1f}), of "
        f"{statistics.fmean(each[0] for each in without):.0f} s"
    )


if __name__ == "__main__":
    main()
