"""The simulator on a socket: in a thread for tests and the demo, or alone and blocking."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import uvicorn

from ut_clips_dagster.simulator.admin.requestlog import RequestLog
from ut_clips_dagster.simulator.api.ratelimit import RateLimiter
from ut_clips_dagster.simulator.app import create_app
from ut_clips_dagster.simulator.config import SimulatorConfig
from ut_clips_dagster.simulator.faults.faults import Fault, Faults
from ut_clips_dagster.simulator.faults.protocol import SimulatorProtocol
from ut_clips_dagster.simulator.parts import Simulator
from ut_clips_dagster.simulator.world.world import World

_START_TIMEOUT_S = 10.0
_IDLE_S = 75
"""How long an idle connection is kept; longer than clients keep theirs, so that none is closed as it is used again."""


class SimulatorServer:
    """A simulator that runs in a thread of this process, as long as the `with` block does.

    Attributes:
        simulator: all its parts; the most used ones are attributes of the server too.

    Args:
        config: its settings; `port=0` takes a free port.
        now: source of real time, in seconds since the epoch; a test's own makes hours pass at once.
    """

    def __init__(self, config: SimulatorConfig | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.simulator = Simulator.create(config or SimulatorConfig(), now)
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def world(self) -> World:
        """Sessions and clips, and ways to change them."""
        return self.simulator.world

    @property
    def faults(self) -> Faults:
        """The faults that are on."""
        return self.simulator.faults

    @property
    def requests(self) -> RequestLog:
        """What was asked so far."""
        return self.simulator.requests

    @property
    def limiter(self) -> RateLimiter:
        """The rate limit."""
        return self.simulator.limiter

    @property
    def url(self) -> str:
        """Base URL, without /api/v2; for USERTESTING_API_URL."""
        if self._socket is None:
            raise RuntimeError("the simulator is not started: use it in a with statement")
        host, port = self._socket.getsockname()[:2]
        return f"http://{_url_host(host)}:{port}"

    @property
    def token_url(self) -> str:
        """For USERTESTING_TOKEN_URL."""
        return f"{self.url}/oauth2/token"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of whoever talks to it."""
        return {
            "USERTESTING_API_URL": self.url,
            "USERTESTING_TOKEN_URL": self.token_url,
            "USERTESTING_CLIENT_ID": "demo",
            "USERTESTING_CLIENT_SECRET": "demo",
            "USERTESTING_TEST_IDS": ",".join(self.simulator.config.test_ids),
        }

    def start(self) -> None:
        """Listen, and return once requests are answered."""
        self._socket = _listen(self.simulator.config)
        self._server = _Server(_uvicorn_config(self.simulator))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="usertesting-simulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(_START_TIMEOUT_S):
            self.stop()
            raise RuntimeError(f"the simulator did not start within {_START_TIMEOUT_S:.0f} s")

    def stop(self) -> None:
        """Cut every connection and stop listening."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._server = self._thread = None

    def __enter__(self) -> "SimulatorServer":  # noqa: PYI034  # typing.Self came with Python 3.11
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def serve(  # noqa: PLR0913  # the options of a command
    host: str = "127.0.0.1",
    port: int = 8090,
    *,
    rate_limit: int = 10,
    sessions: int = 12,
    time_scale: float = 1.0,
    appear_every_s: float | None = None,
    seed: int = 0,
    faults: Sequence[str] = (),
) -> None:
    """Serve a simulator until it is interrupted.

    Args:
        host: address to listen on.
        port: port to listen on.
        rate_limit: requests per minute and client.
        sessions: completed sessions at the start.
        time_scale: simulated seconds per real second.
        appear_every_s: simulated seconds from one new session to the next; None is never.
        seed: the same seed makes the same sessions and clips.
        faults: faults that are on, as `Fault.parse` takes them.

    Raises:
        ValueError: a setting or a fault makes no sense.
        OSError: the port is taken.
    """
    config = SimulatorConfig(
        host=host,
        port=port,
        rate_limit=rate_limit,
        sessions=sessions,
        time_scale=time_scale,
        appear_every_s=appear_every_s,
        seed=seed,
        faults=tuple(Fault.parse(text) for text in faults),
    )
    with _listen(config) as listening, contextlib.suppress(KeyboardInterrupt):
        _Server(_uvicorn_config(Simulator.create(config))).run([listening])


class _Server(uvicorn.Server):
    """A server that says when it is ready, and does not wait for clients when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Some faults keep their connection for as long as the client does, which may be for ever.
        for connection in list(self.server_state.connections):
            if isinstance(connection, SimulatorProtocol):
                connection.transport.abort()
        await asyncio.sleep(0)  # let the connections notice: uvicorn would wait a tenth of a second for them
        await super().shutdown(sockets)


def _uvicorn_config(simulator: Simulator) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(simulator),
        http=SimulatorProtocol,
        ws="none",
        loop="asyncio",  # faults of the connection need its socket, which uvloop does not hand out
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=1,
    )


def _listen(config: SimulatorConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    return socket.create_server((config.host, config.port), family=family, backlog=2048)


def _url_host(host: str) -> str:
    """The host as a URL on this machine has it: no "any" address, IPv6 in brackets."""
    address = ipaddress.ip_address(host)
    if address.version == 6:  # noqa: PLR2004
        return "[::1]" if address.is_unspecified else f"[{host}]"
    return "127.0.0.1" if address.is_unspecified else host
