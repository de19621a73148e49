"""A simulated clock and a simulated Results API, for benchmarks that take hours of API time in seconds.

Processes are plain blocking functions, each in a thread of its own; one runs at a time, and a sleep hands the turn to
whoever is due next. So the real pacer, transport, scheduler and poller run unchanged.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from ut_clips_dagster.archive.documents import ListedClip
from ut_clips_dagster.archive.poller import Batch, ClipGivenUp, ClipPoller, LinkIssued, SessionListed
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.results_api.models import ClipDetails, ClipListing, ClipStatus
from ut_clips_dagster.results_api.pacing import OPERATION, Operation, PacedTransport, Pacer
from ut_clips_dagster.results_api.window import Window


class StoppedError(BaseException):
    """Raised in processes that are still at work when the simulation ends."""


class Simulation:
    """Runs processes in simulated time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, threading.Lock]] = []
        self._numbers = itertools.count()
        self._mine = threading.local()
        self._over = threading.Lock()
        self._stopping = False
        self._errors: list[Exception] = []

    def clock(self) -> float:
        return self.now

    def spawn(self, process: Callable[[], object], at: float = 0.0) -> None:
        turn = threading.Lock()
        turn.acquire()
        heapq.heappush(self._due, (max(at, self.now), next(self._numbers), turn))
        threading.Thread(target=self._live, args=(process, turn), daemon=True).start()

    def sleep(self, seconds: float) -> None:
        turn: threading.Lock = self._mine.turn
        heapq.heappush(self._due, (self.now + max(0.0, seconds), next(self._numbers), turn))
        self._pass_on(turn)
        if self._stopping:
            raise StoppedError

    def stop(self) -> None:
        """End all other processes at their next turn."""
        self._stopping = True

    def run(self) -> None:
        self._over.acquire()
        self._pass_on(None)
        self._over.acquire()
        if self._errors:
            raise self._errors[0]

    def _pass_on(self, mine: threading.Lock | None) -> None:
        if not self._due:
            self._over.release()
            return
        self.now, _, following = heapq.heappop(self._due)
        if following is not mine:
            following.release()
            if mine:
                mine.acquire()

    def _live(self, process: Callable[[], object], turn: threading.Lock) -> None:
        self._mine.turn = turn
        turn.acquire()
        try:
            if not self._stopping:
                process()
        except StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - raised again by run()
            self._errors.append(error)
            self._stopping = True
        self._pass_on(None)


@dataclass(frozen=True)
class World:
    """What the simulated API holds: sessions with their clips' generation times, and its limit."""

    sessions: tuple[tuple[float, ...], ...]
    limit: int = 10
    window_s: float = 60.0
    latency_s: float = 0.15
    per_operation: bool = False

    @property
    def clips(self) -> int:
        return sum(map(len, self.sessions))

    def ideal(self) -> int:
        """One request for the sessions, one for each list, two for each clip."""
        return 1 + len(self.sessions) + 2 * self.clips

    def bound_s(self) -> float:
        """When the last request could be sent at the earliest.

        Not before the budget allows so many requests; and not before each clip is ready that is started as early as
        the budget allows: lists and starts first, in the order of the list.
        """
        if self.per_operation:
            return max((2 * self.clips - 1) // self.limit, (len(self.sessions) - 1) // self.limit) * self.window_s
        bound, sent = ((self.ideal() - 1) // self.limit) * self.window_s, 1
        for clips in self.sessions:
            sent += 1
            for takes_s in clips:
                bound = max(bound, sent // self.limit * self.window_s + takes_s)
                sent += 1
        return bound

    def scaled(self, factor: float) -> World:
        """The same at so many times the speed."""
        sessions = tuple(tuple(s / factor for s in clips) for clips in self.sessions)
        return World(sessions, self.limit, self.window_s / factor, self.latency_s / factor, self.per_operation)


class SimulatedApi(httpx.BaseTransport):
    """The API in memory, reached by httpx requests to `/<session>/<clip>`, `/<session>` or `/`."""

    def __init__(self, world: World, simulation: Simulation) -> None:
        self.world = world
        self.simulation = simulation
        self.requests = 0
        self.refused = 0
        self._windows: dict[str, tuple[float, int]] = {}
        self._ready_at: dict[str, float] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        status, headers, text = self.answer(str(request.url.path))
        return httpx.Response(status, headers=headers, content=text)

    def answer(self, path: str) -> tuple[int, dict[str, str], str]:
        """Takes the latency's time; counts; starts generation."""
        self.simulation.sleep(self.world.latency_s / 2)
        status, headers, text = self._decide(path.strip("/").split("/"))
        self.simulation.sleep(self.world.latency_s / 2)
        return status, headers, text

    def _decide(self, parts: list[str]) -> tuple[int, dict[str, str], str]:
        now, world = self.simulation.now, self.world
        operation = str(len(parts)) + str(parts == [""]) if world.per_operation else ""
        opened_at, used = self._windows.get(operation, (-math.inf, 0))
        if now >= opened_at + world.window_s:
            opened_at, used = now, 0
        allowed = used < world.limit
        self._windows[operation] = (opened_at, used + allowed)
        self.requests += 1
        self.refused += not allowed
        headers = {
            "x-ratelimit-limit": str(world.limit),
            "x-ratelimit-remaining": str(world.limit - used - allowed),
            "x-ratelimit-reset": str(max(1, math.ceil(round(opened_at + world.window_s - now, 6)))),
        }
        if not allowed:
            return 429, headers, ""
        if len(parts) < 2:
            return 200, headers, ""
        key = "/".join(parts)
        if key not in self._ready_at:
            self._ready_at[key] = now + world.sessions[int(parts[0])][int(parts[1])]
            return 200, headers, "GENERATING"
        return 200, headers, "GENERATED" if now >= self._ready_at[key] else "GENERATING"


class PacedApi:
    """What the poller needs of `ResultsApi`, by the real pacer and its transport."""

    def __init__(self, api: SimulatedApi, seed: int = 0) -> None:
        dice = random.Random(seed)
        window = Window(jitter=lambda: dice.uniform(0, 0.1))
        self.pacer = Pacer(api.simulation.clock, api.simulation.sleep, window)
        self._transport = PacedTransport(api, self.pacer)

    def list_sessions(self) -> None:
        self._get(Operation.LIST_SESSIONS, "/")

    def list_clips(self, session_id: str) -> ClipListing:
        self._get(Operation.LIST_CLIPS, f"/{session_id}")
        return ClipListing.model_construct(study_uuid="", clips=())

    def request_clip(self, session_id: str, clip_uuid: str) -> ClipDetails:
        text = self._get(Operation.REQUEST_CLIP, f"/{session_id}/{clip_uuid}")
        return ClipDetails.model_construct(clip_uuid=clip_uuid, status=ClipStatus(text), clip_url="link")

    def _get(self, operation: Operation, path: str) -> str:
        request = httpx.Request("GET", f"http://api{path}", extensions={OPERATION: operation})
        return self._transport.handle_request(request).text


@dataclass
class Progress:
    """What became of the sessions."""

    finished_at: dict[int, float] = field(default_factory=dict)
    given_up: int = 0
    first_clip_s: float = math.nan

    @property
    def all_s(self) -> float:
        return max(self.finished_at.values(), default=math.nan)


def archive(  # noqa: PLR0913, C901 - one run in one place, as the pipeline's loop is
    api: SimulatedApi,
    sessions: list[int],
    progress: Progress,
    policy: PollingPolicy,
    *,
    batch: Batch | None,
    discover: bool = False,
    seed: int = 0,
) -> None:
    """One run, in the shape of `ArchivePipeline._loop`; downloads take no time."""
    simulation, world = api.simulation, api.world
    paced: Any = PacedApi(api, seed)
    poller = ClipPoller(paced, policy, simulation.clock, sleep=simulation.sleep, batch=batch)
    if discover:
        paced.list_sessions()
    for session in sessions:
        poller.scheduler.add_session(str(session))
    waiting_for: dict[str, int] = {}

    def clip_done(session_id: str) -> None:
        waiting_for[session_id] -= 1
        if waiting_for[session_id] <= 0:
            progress.finished_at[int(session_id)] = simulation.now

    while (outcome := poller.step()) is not None:
        if isinstance(outcome, float):
            if outcome > 0:
                simulation.sleep(outcome)
        elif isinstance(outcome, SessionListed):
            clips = len(world.sessions[int(outcome.session_id)])
            waiting_for[outcome.session_id] = clips
            for number in range(clips):
                poller.scheduler.add_clip(outcome.session_id, ListedClip.model_construct(clip_uuid=str(number)))
            if not clips:
                waiting_for[outcome.session_id] = 1
                clip_done(outcome.session_id)
        elif isinstance(outcome, LinkIssued | ClipGivenUp):
            progress.given_up += isinstance(outcome, ClipGivenUp)
            if math.isnan(progress.first_clip_s):
                progress.first_clip_s = simulation.now
            clip_done(outcome.session_id)
