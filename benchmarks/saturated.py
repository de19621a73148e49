"""20 sessions and 46 clips through the real command, once and by two processes, beside the tutorial's loop.

    .venv/bin/python -m benchmarks.saturated [--time-scale 10]

Prints, for each: requests, (S + 2C + session-list requests) / requests, and bound / time from the first request to
the last. The bound is what the budget allows: the ideal number of requests, ten in each window.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.large_archive import make_place
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorConfig, SimulatorServer

SESSIONS, CLIPS = 20, 46
IDEAL = SESSIONS + 2 * CLIPS + 1


def bound_s(window_s: float, limit: int = 10) -> float:
    """Earliest instant of the last of the ideal requests after the first."""
    return (IDEAL - 1) // limit * window_s


def ours(server: SimulatorServer, scale: float, scratch: Path, processes: int) -> None:
    """One command over all sessions; or so many at a time, each over its share, in an archive of its own."""
    sessions = [session.session_id for session in server.world.sessions()]
    running = []
    for process in range(processes):
        place = make_place(scratch / f"{process} of {processes}", server, scale)
        share = sessions[process * SESSIONS // processes : (process + 1) * SESSIONS // processes]
        named = [f"--session={session_id}" for session_id in share] if processes > 1 else []
        command = [str(Path(sys.executable).parent / "ut-clips"), "archive", *named]
        running.append(
            subprocess.Popen(
                command, env={**os.environ, **place.environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
    statuses = [process.wait() for process in running]
    if any(statuses):
        raise SystemExit("An archive was left unfinished.")


def tutorial(server: SimulatorServer, scale: float) -> None:
    """The tutorial's loop: one clip after the other, each polled with growing delays, a wait at each 429."""
    form = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo", "scope": "studies:read"}
    with httpx.Client(base_url=f"{server.url}/api/v2/") as client:
        token = client.post(server.token_url, data=form).json()["access_token"]

        def get(path: str, **params: str) -> httpx.Response:
            while True:
                answer = client.get(path, params=params, headers={"Authorization": f"Bearer {token}"})
                if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    return answer
                time.sleep(float(answer.headers["x-ratelimit-reset"]))

        for session in get("sessionResults", testId=DEMO_TEST_ID, limit="500").json()["sessions"]:
            path = f"sessionResults/{session['sessionId']}/clips"
            answer = get(path)
            for clip in answer.json()["clips"] if answer.status_code == httpx.codes.OK else ():
                for attempt in range(1, 11):
                    details = get(f"{path}/{clip['uuid']}").json()
                    if details["status"] == "GENERATED":
                        client.get(details["clipUrl"])
                        break
                    time.sleep(3 / scale * attempt)


def report(name: str, server: SimulatorServer, window_s: float) -> None:
    entries = [e for e in server.requests.entries() if e.operation.value in ("list_sessions", "list_clips", "get_clip")]
    took_s = (entries[-1].at - entries[0].at).total_seconds()
    refused = sum(1 for e in entries if e.status == httpx.codes.TOO_MANY_REQUESTS)
    print(
        f"{name:10} requests {len(entries):4} (429: {refused})   ideal/requests {IDEAL / len(entries):.3f}   "
        f"time {took_s:6.1f} s   bound/time {bound_s(window_s) / took_s:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-scale", type=float, default=10.0)
    scale = parser.parse_args().time_scale
    config = SimulatorConfig(sessions=SESSIONS, clips_total=CLIPS, time_scale=scale)
    print(f"{SESSIONS} sessions, {CLIPS} clips, {IDEAL} requests at best, windows of {60 / scale:g} s")
    with tempfile.TemporaryDirectory() as scratch:
        for processes in (1, 2):
            with SimulatorServer(config) as server:
                ours(server, scale, Path(scratch), processes)
                report(f"ours, {processes}", server, 60 / scale)
    with SimulatorServer(config) as server:
        tutorial(server, scale)
        report("tutorial", server, 60 / scale)


if __name__ == "__main__":
    main()
