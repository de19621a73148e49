"""How much of the request budget becomes clips: ours beside the tutorial's loop and a naive concurrent client.

`python -m benchmarks.schedule`; simulated time, about half a minute of real time.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.discrete_events import Progress, SimulatedApi, Simulation, World, archive
from ut_clips_dagster.archive.poller import Batch
from ut_clips_dagster.archive.scheduler import PollingPolicy

POLICY = PollingPolicy()
SEEDS = 5
SESSIONS_PER_RUN = 10

Draw = Callable[[random.Random], float]
DISTRIBUTIONS: dict[str, Draw] = {
    "constant 8 s": lambda _: 8.0,
    "log-normal 8 s, 0.5": lambda dice: dice.lognormvariate(math.log(8), 0.5),
    "log-normal 8 s, 1.5": lambda dice: dice.lognormvariate(math.log(8), 1.5),
    "Pareto 4 s, 1.5": lambda dice: 4 * dice.paretovariate(1.5),
    "constant 180 s": lambda _: 180.0,
    "log-normal 180 s, 0.5": lambda dice: dice.lognormvariate(math.log(180), 0.5),
}


def make_world(sessions: int, clips: int, draw: Draw, seed: int, most: int = 50) -> World:
    """Deals clips to sessions, unevenly: each session gets 0 to `most`."""
    dice = random.Random(seed)
    counts = [0] * sessions
    weights = [dice.expovariate(1) for _ in range(sessions)]
    for _ in range(clips):
        session = dice.choices(range(sessions), weights)[0]
        counts[session if counts[session] < most else counts.index(min(counts))] += 1
    return World(tuple(tuple(draw(dice) for _ in range(count)) for count in counts))


@dataclass(frozen=True)
class Figures:
    """One client in one scenario; means over seeds."""

    requests: float
    time: float
    first_clip_s: float
    refused: float
    given_up: float


def measure(world: World, start: Callable[[Simulation, SimulatedApi, Progress], None]) -> Figures:
    simulation = Simulation()
    api, progress = SimulatedApi(world, simulation), Progress()
    start(simulation, api, progress)
    simulation.run()
    return Figures(
        api.requests / world.ideal(),
        progress.all_s / max(world.bound_s(), 1),
        progress.first_clip_s,
        api.refused,
        progress.given_up,
    )


def ours(processes: int, policy: PollingPolicy = POLICY) -> Callable[[Simulation, SimulatedApi, Progress], None]:
    def start(simulation: Simulation, api: SimulatedApi, progress: Progress) -> None:
        everything = list(range(len(api.world.sessions)))
        for process in range(processes):
            mine = everything[process::processes]

            def run(process: int = process, mine: list[int] = mine) -> None:
                archive(api, mine, progress, policy, batch=Batch(), discover=process == 0, seed=process)

            simulation.spawn(run, at=process * 1.7 * api.world.window_s / 60)

    return start


def in_runs(batches: int) -> Callable[[Simulation, SimulatedApi, Progress], None]:
    """As Dagster runs them: ten sessions each, so many at a time; one that only waits for its last clips makes room.

    From there to the next one's first request it takes some seconds: the queue's interval, and a process's start.
    """

    def start(simulation: Simulation, api: SimulatedApi, progress: Progress) -> None:
        dice, everything = random.Random(batches), list(range(len(api.world.sessions)))
        runs = [everything[at : at + SESSIONS_PER_RUN] for at in range(0, len(everything), SESSIONS_PER_RUN)]

        def batch() -> None:
            made_room = []

            def next_one() -> None:
                if runs and not made_room:
                    simulation.spawn(batch, at=simulation.now + dice.uniform(6, 12))
                made_room.append(True)

            if not runs:
                return
            sessions = runs.pop(0)
            archive(api, sessions, progress, POLICY, batch=Batch(only_waits=next_one), seed=sessions[0])
            next_one()

        for _ in range(batches):
            simulation.spawn(batch)

    return start


def patient(api: SimulatedApi, path: str) -> str:
    """A request that waits for the reset after a 429 and is sent again: all that the other clients know of limits."""
    while True:
        status, headers, text = api.answer(path)
        if status != 429:
            return text
        api.simulation.sleep(float(headers["x-ratelimit-reset"]))


def tutorial(simulation: Simulation, api: SimulatedApi, progress: Progress) -> None:
    """One session after the other, one clip after the other: ask, sleep 3 s times the attempt, at most 10 times."""

    def run() -> None:
        patient(api, "/")
        for session, clips in enumerate(api.world.sessions):
            patient(api, f"/{session}")
            for clip in range(len(clips)):
                for attempt in range(1, POLICY.max_attempts + 1):
                    if patient(api, f"/{session}/{clip}") == "GENERATED":
                        if math.isnan(progress.first_clip_s):
                            progress.first_clip_s = simulation.now
                        break
                    simulation.sleep(POLICY.interval_s * attempt)
                else:
                    progress.given_up += 1
            progress.finished_at[session] = simulation.now

    simulation.spawn(run)


def naive(simulation: Simulation, api: SimulatedApi, progress: Progress) -> None:
    """All clips of all sessions at the same time, each asked for every 3 s until it is there."""
    open_clips = [len(clips) for clips in api.world.sessions]

    def clip(session: int, number: int) -> None:
        while patient(api, f"/{session}/{number}") != "GENERATED":
            simulation.sleep(POLICY.interval_s)
        if math.isnan(progress.first_clip_s):
            progress.first_clip_s = simulation.now
        open_clips[session] -= 1
        if not open_clips[session]:
            progress.finished_at[session] = simulation.now

    def listing(session: int) -> None:
        patient(api, f"/{session}")
        if not api.world.sessions[session]:
            progress.finished_at[session] = simulation.now
        for number in range(len(api.world.sessions[session])):
            simulation.spawn(lambda number=number: clip(session, number), at=simulation.now)

    def run() -> None:
        patient(api, "/")
        for session in range(len(api.world.sessions)):
            simulation.spawn(lambda session=session: listing(session), at=simulation.now)

    simulation.spawn(run)


def report(
    scenario: str, worlds: list[World], clients: dict[str, Callable[[Simulation, SimulatedApi, Progress], None]]
) -> None:
    for name, start in clients.items():
        figures = [measure(world, start) for world in worlds]

        def mean(field: str, figures: list[Figures] = figures) -> float:
            return statistics.fmean(getattr(f, field) for f in figures)

        print(
            f"{scenario:<42} {name:<15} {mean('requests'):>6.3f} {max(f.requests for f in figures):>6.3f} "
            f"{mean('time'):>6.3f} {max(f.time for f in figures):>6.3f} {mean('first_clip_s'):>7.0f} "
            f"{mean('refused'):>7.1f} {mean('given_up'):>6.1f}",
            flush=True,
        )


def main() -> None:
    print(
        f"{'scenario':<42} {'client':<15} {'req./ideal':^13} {'time/bound':^13} {'first':>7} {'429s':>7} {'given':>6}"
    )
    print(f"{'':<42} {'':<15} {'mean':>6} {'worst':>6} {'mean':>6} {'worst':>6} {'s':>7} {'':>7} {'up':>6}")
    others = {"tutorial": tutorial, "naive": naive}
    for name, draw in DISTRIBUTIONS.items():
        small = [make_world(20, 46, draw, seed) for seed in range(SEEDS)]
        report(f"20/46, {name}", small, {"ours": ours(1), **others})
    for name, draw in DISTRIBUTIONS.items():
        large = [make_world(100, 300, draw, seed) for seed in range(SEEDS)]
        report(f"100/300, {name}", large, {"ours": ours(1)})
        for processes in (2, 4, 8):
            report(f"100/300, {name}", large[:3], {f"ours, {processes} proc.": ours(processes)})
    draw = DISTRIBUTIONS["log-normal 8 s, 0.5"]
    report("100/300, log-normal 8 s, 0.5", [make_world(100, 300, draw, 0)], others)
    in_tens = [make_world(200, 600, draw, seed) for seed in range(3)]
    report("200/600 in runs of 10", in_tens, {f"ours, {n} at a time": in_runs(n) for n in (1, 2, 4, 8)})
    report("300/60, mostly empty sessions", [make_world(300, 60, draw, seed) for seed in range(3)], {"ours": ours(1)})
    report("10/300, up to 50 clips", [make_world(10, 300, draw, seed) for seed in range(3)], {"ours": ours(1)})
    for factor in (10, 20):
        scaled = [make_world(20, 46, draw, seed).scaled(factor) for seed in range(3)]
        policy = PollingPolicy(POLICY.interval_s / factor, POLICY.max_attempts)
        for processes in (1, 2):
            report(f"20/46, window {60 // factor} s", scaled, {f"ours, {processes} proc.": ours(processes, policy)})
    per_operation = [World(make_world(100, 300, draw, seed).sessions, per_operation=True) for seed in range(3)]
    report("100/300, a limit per operation", per_operation, {f"ours, {n} proc.": ours(n) for n in (1, 2)})


if __name__ == "__main__":
    main()
