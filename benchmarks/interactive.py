"""A session materialized by hand during a saturated backfill: its time alone, and beside it.

From the launch to the last byte: Dagster starts the run's process, which takes some seconds, while the batch sees from
the launch on that somebody waits.

`python -m benchmarks.interactive`; simulated time, some seconds of real time.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.discrete_events import Progress, SimulatedApi, Simulation, World, archive
from ut_clips_dagster.archive.poller import Batch
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.run_queue import GIVES_WAY_S

POLICY = PollingPolicy()
BACKFILL_SESSIONS = 1000
SESSIONS_PER_RUN = 10
ARRIVALS = 60
SEEDS = 5
CLIPS_BY_HAND = 3
START_S = 8.0
"""From the launch of a run to its first request."""


def make_world(seed: int) -> World:
    """A backfill of sessions with 0 to 6 clips, and at the end those that are materialized by hand."""
    dice = random.Random(seed)
    counts = [dice.randint(0, 6) for _ in range(BACKFILL_SESSIONS)] + [CLIPS_BY_HAND] * ARRIVALS
    return World(tuple(tuple(dice.lognormvariate(math.log(8), 0.5) for _ in range(count)) for count in counts))


def measure(batches: int, seed: int) -> tuple[list[float], SimulatedApi]:
    """Times of the sessions by hand, beside so many batch runs at a time."""
    world, dice = make_world(seed), random.Random(seed)
    simulation = Simulation()
    api, progress = SimulatedApi(world, simulation), Progress()
    runs = [list(range(start, start + SESSIONS_PER_RUN)) for start in range(0, BACKFILL_SESSIONS, SESSIONS_PER_RUN)]
    arrivals = [300 + 400 * number + dice.uniform(0, 120) for number in range(ARRIVALS)]

    def somebody_waits() -> bool:
        return any(
            at <= simulation.now < at + GIVES_WAY_S and BACKFILL_SESSIONS + number not in progress.finished_at
            for number, at in enumerate(arrivals)
        )

    def batch(number: int) -> None:
        while runs:
            archive(api, runs.pop(0), progress, POLICY, batch=Batch(somebody_waits), seed=number + len(runs))
            simulation.sleep(dice.uniform(2, 6))  # Dagster takes the next run from its queue

    def by_hand(number: int) -> None:
        archive(api, [BACKFILL_SESSIONS + number], progress, POLICY, batch=None, seed=number)
        if number == ARRIVALS - 1:
            simulation.stop()

    for number in range(batches):
        simulation.spawn(lambda number=number: batch(number), at=number * 3.0)
    for number, at in enumerate(arrivals):
        simulation.spawn(lambda number=number: by_hand(number), at=at + START_S)
    simulation.run()
    times = [progress.finished_at[BACKFILL_SESSIONS + number] - at for number, at in enumerate(arrivals)]
    return times, api


def main() -> None:
    print(
        f"{'beside':<14} {'mean s':>7} {'median':>7} {'worst':>7} {'/ alone':>8} {'429s/req.':>10} {'used/budget':>12}"
    )
    alone = math.nan
    for batches in (0, 1, 2, 4):
        runs = [measure(batches, seed) for seed in range(SEEDS)]
        times = [seconds for run in runs for seconds in run[0]]
        mean = statistics.fmean(times)
        alone = mean if batches == 0 else alone
        requests, refused = (sum(getattr(api, name) for _, api in runs) for name in ("requests", "refused"))
        budget = sum(api.simulation.now / api.world.window_s * api.world.limit for _, api in runs)
        print(
            f"{f'{batches} batch runs' if batches else 'nothing':<14} {mean:>7.1f} {statistics.median(times):>7.1f} "
            f"{max(times):>7.1f} {mean / alone:>8.2f} {refused / requests:>10.4f} "
            f"{(requests - refused) / budget:>12.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
