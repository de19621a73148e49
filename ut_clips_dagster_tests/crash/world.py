"""A simulator in a process of its own, and an archive beside it, as the killed commands see them."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ut_clips_dagster.simulator import DEMO_TEST_ID, MediaFile, Render, media_file
from ut_clips_dagster.simulator.admin.schemas import ClipState
from ut_clips_dagster.simulator.world.state import Clip

ROOT = Path(__file__).parents[2]
COMMANDS = Path(sys.executable).parent
START_TIMEOUT_S = 120.0


@dataclass
class RemoteWorld:
    """A simulator process; sessions are added, and the log is read, over HTTP."""

    url: str
    dice: random.Random
    clips: dict[str, dict[str, MediaFile]] = field(default_factory=dict)
    """The file that each clip must become, by session and clip."""

    def __post_init__(self) -> None:
        # no TLS here, and reading the certificates takes time
        self._http = httpx.Client(base_url=f"{self.url}/_simulator", timeout=30, trust_env=False, verify=False)

    def add_session(self, clips: int, smallest: int, largest: int) -> str:
        """A new session with clips of some size."""
        session_id = str(self._post("/sessions", {"clips": 0})["session_id"])
        self.clips[session_id] = {}
        for _ in range(clips):
            size = self.dice.randint(smallest, largest)
            answer = self._post(f"/sessions/{session_id}/clips", {"media_size_bytes": size})
            clip = _clip(session_id, ClipState.model_validate(answer))
            self.clips[session_id][clip.clip_uuid] = media_file(_render(clip))
        return session_id

    def take_requests(self) -> list[dict[str, Any]]:
        """What was asked since the last call."""
        answer = self._http.get("/requests", params={"limit": 100_000}).raise_for_status().json()
        self._http.delete("/requests").raise_for_status()
        return list(answer["requests"])

    def count(self, operation: str) -> int:
        """How often an operation was asked for since the log was last taken."""
        counts = self._http.get("/requests", params={"limit": 0}).raise_for_status().json()["counts"]
        return sum(int(c["requests"]) for c in counts if c["operation"] == operation)

    def wait_for(self, operation: str, timeout_s: float) -> None:
        """Wait until an operation is asked for."""
        end = time.monotonic() + timeout_s
        while not self.count(operation):
            assert time.monotonic() < end, f"no {operation} within {timeout_s:.0f} s"
            time.sleep(0.02)

    def close(self) -> None:
        self._http.close()

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._http.post(path, json=body).raise_for_status().json())


@contextmanager
def simulator_process(*faults: str, seed: int = 0) -> Iterator[RemoteWorld]:
    """`ut-clips simulator` with no session in it, and no rate limit to speak of."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", port, "--rate-limit", 1_000_000, "--sessions", 0, "--time-scale", 60]
    options += [text for fault in faults for text in ("--fault", fault)]
    process = subprocess.Popen([COMMANDS / "ut-clips", "simulator", *map(str, options)], cwd=ROOT)
    world = RemoteWorld(f"http://127.0.0.1:{port}", random.Random(seed))
    try:
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                world.count("media")
                break
            except httpx.TransportError:
                assert process.poll() is None, "the simulator ended"
                assert time.monotonic() < end, "the simulator does not start"
                time.sleep(0.1)
        yield world
    finally:
        world.close()
        process.terminate()
        process.wait(10)


def environment(world: RemoteWorld, folder: Path, **more: str) -> dict[str, str]:
    """The settings of every command; the archive and Dagster's home are in the folder."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("UT_CLIPS", "USERTESTING"))},
        "USERTESTING_API_URL": world.url,
        "USERTESTING_TOKEN_URL": f"{world.url}/oauth2/token",
        "USERTESTING_CLIENT_ID": "demo",
        "USERTESTING_CLIENT_SECRET": "demo",
        "USERTESTING_TEST_IDS": DEMO_TEST_ID,
        "UT_CLIPS_ARCHIVE": str(folder / "archive"),
        "UT_CLIPS_POLL_INTERVAL_S": "0.1",
        "UT_CLIPS_POLL_MAX_ATTEMPTS": "100",
        "DAGSTER_HOME": str(folder / "dagster"),
        **more,
    }


def command(*words: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a command of the venv in a process group of its own, from the project's root; its output goes to a file."""
    log = Path(env["DAGSTER_HOME"]).parent / f"{words[0]}-{words[1]}.log"
    with log.open("ab") as output:
        return subprocess.Popen(
            [COMMANDS / words[0], *words[1:]],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _clip(session_id: str, state: ClipState) -> Clip:
    shared = state.model_dump(exclude={"generation_attempts", "layout"})
    return Clip(session_id=session_id, has_audio=True, has_camera=True, layout=state.layout, **shared)


def _render(clip: Clip) -> Render:
    return Render(clip.session_id, clip.clip_uuid, clip.cut, clip.media_size_bytes)
