"""BigQuery on loopback: `bqemulator` in an environment of its own, as its versions conflict with our lock."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from filelock import FileLock

PROJECT = "demo"
ENVIRONMENT = Path(__file__).parents[2] / ".venv-bqemulator"
REQUIREMENTS = (
    "bqemulator==1.4.0",
    "duckdb==1.5.5",
    "duckdb-extension-spatial==1.5.5",
    "duckdb-extensions==1.5.5",
    "numpy",
)
LOAD_SPATIAL = "from duckdb_extensions import import_extension; import_extension('spatial')"
INSTALL_S, START_S = 600, 200


def environment() -> Path:
    """The environment's programs; made once, and skipped loudly where pip cannot make it."""
    programs, made = ENVIRONMENT / "bin", ENVIRONMENT / "made.txt"
    with FileLock(f"{ENVIRONMENT}.lock"):
        wanted = "\n".join(REQUIREMENTS)
        if made.is_file() and made.read_text() == wanted:
            return programs
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        install = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
        for command in (install, [programs / "python", "-c", LOAD_SPATIAL]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                pytest.skip(f"BIGQUERY IS NOT TESTED: bqemulator 1.4.0 cannot be installed by pip: {last[:200]}")
        made.write_text(wanted)
    return programs


@contextmanager
def running_emulator() -> Iterator[str]:
    """Start it on free ports; gives its address."""
    programs = environment()
    rest, grpc = _free_port(), _free_port()
    command = [
        "start",
        "--rest-port",
        str(rest),
        "--grpc-port",
        str(grpc),
        "--project",
        PROJECT,
        "--log-level",
        "error",
    ]
    process = subprocess.Popen(
        [programs / "bqemulator", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{rest}"
    try:
        _wait_until_it_answers(process, f"{url}/bigquery/v2/projects/{PROJECT}/datasets")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    give_up = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < give_up:
        try:
            urllib.request.urlopen(url, timeout=2).read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"bqemulator did not start (exit code {process.poll()}).")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Tokens(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "of-a-test", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def service_account(directory: Path) -> Iterator[Path]:
    """The file of a service account whose tokens are issued here; application default credentials find it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    path = directory / "service_account.json"
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": f"test@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
    }
    path.write_text(json.dumps(account))
    try:
        yield path
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
