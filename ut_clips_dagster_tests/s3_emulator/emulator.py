"""The processes behind the emulator, and its life from start to end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
import httpx
import uvicorn
from botocore.config import Config

from ut_clips_dagster_tests.gcs_emulator.emulator import _stop
from ut_clips_dagster_tests.gcs_emulator.faults import Faults
from ut_clips_dagster_tests.gcs_emulator.requests import RequestLog

from .gateway import Gateway

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

Kind = Literal["moto", "ministack"]
START_TIMEOUT_S = 240.0
ROOT = Path(__file__).parents[2]
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEMULATOR",
    "AWS_SECRET_ACCESS_KEY": "emulators-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3Emulator:
    """moto or ministack with a gateway before it, on one URL, for as long as the `with` block lasts.

    Nothing in the environment changes: set `environment` yourself, or use the fixtures. `host` is its address.
    """

    def __init__(self, kind: Kind = "moto", host: str = "127.0.0.1") -> None:
        self.kind = kind
        self._host = host
        self.faults = Faults()
        self.requests = RequestLog()
        self.url = ""
        self.backend_url = ""
        """The emulator itself, without the gateway."""
        self._stack = ExitStack()
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.backend_url = self._start_backend(stack)
            self._start_gateway(stack)
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
        """What leads boto3 and delta-rs here."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url}

    def client(self, url: str = "") -> Any:
        """boto3's client of S3, of the gateway or of another address; made once, as that takes time."""
        url = url or self.url
        if url not in self._clients:
            self._clients[url] = boto3.session.Session().client(
                "s3",
                endpoint_url=url,
                region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"total_max_attempts": 3}, max_pool_connections=32),
            )
            self._stack.callback(self._clients[url].close)
        return self._clients[url]

    def create_bucket(self, name: str) -> str:
        """Make a bucket and return its name."""
        self.client().create_bucket(Bucket=name)
        return name

    def _start_backend(self, stack: ExitStack) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-emulator-")))
        module = "ut_clips_dagster_tests.s3_emulator.server"
        environment = {**os.environ, **CREDENTIALS, "HOME": str(root), "TMPDIR": str(root)}
        environment.pop("AWS_ENDPOINT_URL", None)
        with (root / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, self.kind, str(port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        stack.callback(_stop, process)
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                httpx.get(f"{url}/", timeout=5, trust_env=False)
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            return url
        raise RuntimeError(f"{self.kind} is not there: {(root / 'log').read_text(errors='replace')[-3000:]}")

    def _start_gateway(self, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP))
        listener.bind((self._host, 0))
        self.url = f"http://{self._host}:{listener.getsockname()[1]}"
        servers: list[uvicorn.Server] = []

        async def serve() -> None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
            async with httpx.AsyncClient(base_url=self.backend_url, timeout=60, limits=limits, trust_env=False) as http:
                app = Gateway(http, self.faults, self.requests, whole_checksums=self.kind == "moto")
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
                await servers[0].serve(sockets=[listener])

        thread = threading.Thread(target=asyncio.run, args=(serve(),), name="s3-emulator", daemon=True)
        thread.start()

        def stop() -> None:
            for server in servers:
                server.should_exit = True
            thread.join(timeout=15)

        stack.callback(stop)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and thread.is_alive():
            if servers and servers[0].started:
                return
            time.sleep(0.02)
        raise RuntimeError("the gateway did not start")
