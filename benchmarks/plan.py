"""The plan made before a backfill, beside what happened: `ut-clips plan`, then `ut-clips archive`, on the simulator.

    .venv/bin/python -m benchmarks.plan [--time-scale 20] [--seed 0]

A history of 30 sessions is archived; then 30 new ones are planned, and archived. Both have 75 clips, dealt at random:
how many clips researchers will cut nobody knows before a survey; what is checked is the cost of a given work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.large_archive import make_place
from ut_clips_dagster.simulator import Operation, SimulatorConfig, SimulatorServer

SESSIONS, CLIPS = 30, 75
WANTED = 0.1


def ut_clips(environment: dict[str, str], *arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "ut-clips"), *arguments]
    return subprocess.run(command, check=True, env={**os.environ, **environment}, capture_output=True, text=True).stdout


def deal(seed: int) -> list[int]:
    """Clips of each new session: at most five, as the simulator deals them."""
    places = [session for session in range(SESSIONS) for _ in range(5)]
    dealt = random.Random(seed).sample(places, CLIPS)
    return [dealt.count(session) for session in range(SESSIONS)]


def compare(what: str, planned: float, happened: float) -> None:
    error = planned / happened - 1
    met = "yes" if abs(error) < WANTED else "NO"
    print(f"{what:<24} planned {planned:8.0f}   happened {happened:8.0f}   error {error:+7.1%}   < 10 %: {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-scale", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scale = options.time_scale
    print(f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, time x {scale:g}, {options.seed=}")
    config = SimulatorConfig(sessions=SESSIONS, clips_total=CLIPS, time_scale=scale, seed=options.seed)
    with tempfile.TemporaryDirectory() as scratch, SimulatorServer(config) as server:
        place = make_place(Path(scratch), server, scale)
        environment = dict(place.environment)
        before = json.loads(ut_clips(environment, "plan", "--sessions", str(SESSIONS), "--json"))
        ut_clips(environment, "archive")
        for clips in deal(options.seed + 1):
            server.world.add_session(clips=clips)
        plan = json.loads(ut_clips(environment, "plan", "--sessions", str(SESSIONS), "--json"))
        server.requests.clear()
        ut_clips(environment, "archive")
        asked = [e for e in server.requests.entries() if e.operation in (Operation.LIST_CLIPS, Operation.GET_CLIP)]
    compare("requests", plan["requests"], len(asked))
    compare("simulated seconds", plan["duration_s"], (asked[-1].at - asked[0].at).total_seconds() * scale)
    print(f"{'without any history':<24} planned {before['requests']} requests, {before['duration_s']:.0f} s")


if __name__ == "__main__":
    main()
