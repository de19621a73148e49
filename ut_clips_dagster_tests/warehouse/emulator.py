"""BigQuery on loopback: `bqemulator` in an environment of its own, as some of its versions conflict with our lock."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "demo"
ENVIRONMENT = Path(__file__).parents[2] / ".venv-bqemulator"
LOCK = Path(__file__).with_name("requirements.lock")
FIRST_PYTHON = (3, 11)
LOAD_SPATIAL = "from duckdb_extensions import import_extension; import_extension('spatial')"
INSTALL_S, START_S = 240, 60


def not_tested(why: str) -> NoReturn:
    """Skip, so that nobody overlooks it."""
    pytest.skip(f"BIGQUERY IS NOT TESTED: {why}")


def environment() -> Path:
    """The environment's programs; made once, in the checkout, and skipped loudly where pip cannot make it.

    It holds only what differs from our own environment, which it sees behind its own packages: a third of the work.
    """
    if sys.version_info < FIRST_PYTHON:
        not_tested("bqemulator needs Python 3.11.")
    programs, made = ENVIRONMENT / "bin", ENVIRONMENT / "made.txt"
    wanted = _requirements()
    with FileLock(f"{ENVIRONMENT}.lock"):
        if made.is_file() and made.read_text() == wanted:
            return programs
        venv.create(ENVIRONMENT, clear=True)
        ours, theirs = (sysconfig.get_path("purelib", vars={"base": p}) for p in (sys.prefix, str(ENVIRONMENT)))
        Path(theirs, "ours.pth").write_text(f"{ours}\n")
        (ENVIRONMENT / "wanted.txt").write_text(wanted)
        pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
        options = ["--quiet", "--no-deps", "--no-compile", "--require-hashes", "-r", ENVIRONMENT / "wanted.txt"]
        for command in ([*pip, "install", *options], [programs / "python", "-c", LOAD_SPATIAL]):
            try:
                subprocess.run(command, env=_own_home(), capture_output=True, text=True, timeout=INSTALL_S, check=True)
            except subprocess.CalledProcessError as error:
                last = (error.stderr.strip().splitlines() or ["no message"])[-1]
                not_tested(f"bqemulator cannot be installed by pip: {last[:200]}")
            except subprocess.TimeoutExpired:
                not_tested(f"bqemulator is not installed within {INSTALL_S} s.")
        made.write_text(wanted)
    return programs


def _requirements() -> str:
    """The part of its lock that our environment does not have in the same version."""
    ours = {canonicalize_name(found.name): found.version for found in distributions()}
    entries = re.split(r"\n(?=\S)", LOCK.read_text().strip())
    missing = []
    for entry in entries:
        requirement = Requirement(re.split(r" \\\n| --hash", entry)[0])
        applies = requirement.marker is None or requirement.marker.evaluate()
        if applies and str(requirement.specifier) != f"=={ours.get(canonicalize_name(requirement.name))}":
            missing.append(entry)
    return "\n".join(missing)


def _own_home() -> dict[str, str]:
    """Its extension of DuckDB lies in the home directory: in one of its own."""
    return {**os.environ, "HOME": str(ENVIRONMENT)}


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
        env=_own_home(),
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
