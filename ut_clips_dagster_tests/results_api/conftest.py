"""A simulator at true speed limits whose time is virtual, and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.pacing import Pacer
from ut_clips_dagster.simulator import Clip, SimulatorConfig, SimulatorServer
from ut_clips_dagster_tests.faults.virtual_time import VirtualTime

SECRET = "the-secret-of-the-lab"


class Lab:
    """One simulator, its time, and the waits that its clients asked for."""

    def __init__(self, **settings: Any) -> None:
        self.time = VirtualTime()
        self.waits: list[float] = []
        config = {"sessions": 3, "clips_total": 6, "generation_s": 2, "client_secret": SECRET, **settings}
        self.server = SimulatorServer(SimulatorConfig(**config), now=self.time.wall)
        self._clients: list[ResultsApi] = []

    def api(self, **changes: Any) -> ResultsApi:
        """A client; its retries wait in `waits`, its pacing in virtual time."""
        urls = {"api_url": self.server.url, "token_url": self.server.token_url}
        settings = {**urls, "client_id": "demo", "client_secret": SECRET, **changes}
        api = ResultsApi(
            **{
                "pacer": Pacer(self.time.clock, self.time.sleep),
                "sleep": self.waits.append,
                "timeout": httpx.Timeout(0.8, connect=5),
                **settings,
            }
        )
        self._clients.append(api)
        return api

    @property
    def test_id(self) -> str:
        return self.server.world.test_ids[0]

    @property
    def clip(self) -> Clip:
        """A clip of some session."""
        return next(c for s in self.server.world.sessions() for c in self.server.world.clips(s.session_id))

    def link(self, api: ResultsApi) -> str:
        """A link to the clip, valid now."""
        clip = self.clip
        api.request_clip(clip.session_id, clip.clip_uuid)
        self.time.sleep(3)
        url = api.request_clip(clip.session_id, clip.clip_uuid).clip_url
        assert url is not None
        return url.get_secret_value()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.stop()


@pytest.fixture
def lab() -> Iterator[Callable[..., Lab]]:
    """Starts a simulator with these settings."""
    started: list[Lab] = []

    def start(**settings: Any) -> Lab:
        started.append(Lab(**settings))
        started[-1].server.start()
        return started[-1]

    yield start
    for each in started:
        each.close()
