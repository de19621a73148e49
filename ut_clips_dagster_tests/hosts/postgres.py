"""A PostgreSQL server for as long as a `with` block lasts; installed by apt on a bare machine, where we may."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

VERSIONS = Path("/usr/lib/postgresql")
USER, DATABASE, OWNER = "dagster", "dagster", "postgres"
SWITCHES = ("-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "max_connections=200")


@dataclass(frozen=True)
class Postgres:
    """A running server, and what leads Dagster to it: the names that `deploy/ray/dagster.yaml` reads."""

    host: str
    port: int
    password: str
    server: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it, whoever is connected."""
        self.server.send_signal(signal.SIGINT)
        self.server.wait(60)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DAGSTER_PG_HOST": self.host,
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_USER": USER,
            "DAGSTER_PG_PASSWORD": self.password,
            "DAGSTER_PG_DB": DATABASE,
        }


def programs() -> Path:
    """Where the server's programs are; skipped loudly where they cannot be installed."""
    if not _newest() and os.geteuid() == 0 and shutil.which("apt-get"):
        with FileLock(Path(tempfile.gettempdir()) / "ut-clips-apt.lock"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
                wait = ["-o", "DPkg::Lock::Timeout=120"]
                subprocess.run(["apt-get", *wait, *command], env=environment, capture_output=True, check=False)
    found = _newest()
    if not found:
        pytest.skip(f"POSTGRESQL IS NOT TESTED: there is none below {VERSIONS}, and it could not be installed by apt")
    return found[-1]


@contextmanager
def postgres(host: str = "127.0.0.1", port: int = 5432) -> Iterator[Postgres]:
    """A server with an empty database, on this address."""
    commands, password = programs(), secrets.token_hex(16)
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    try:
        (folder / "password").write_text(password)
        user = _unprivileged(folder)
        init = ["--username", USER, "--auth", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync"]
        _run([*user, str(commands / "initdb"), *init, "-D", str(folder / "data")])
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 127.0.0.0/8 scram-sha-256\n")
        options = [*SWITCHES, "-c", f"listen_addresses={host}", "-p", str(port), "-D", str(folder / "data")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*user, str(commands / "postgres"), *options], cwd="/", stdout=log, stderr=log, start_new_session=True
            )
        try:
            environment = {**os.environ, "PGPASSWORD": password}
            where = ["-h", host, "-p", str(port), "-U", USER]
            ready = 'for i in $(seq 300); do "$0" -q "$@" && exit 0; sleep 0.1; done; exit 1'
            _run(["sh", "-c", ready, str(commands / "pg_isready"), *where])
            _run([str(commands / "createdb"), *where, DATABASE], environment)
            yield Postgres(host, port, password, server)
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
                server.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _newest() -> list[Path]:
    return sorted((p.parent for p in VERSIONS.glob("*/bin/postgres")), key=lambda p: float(p.parent.name))


def _unprivileged(folder: Path) -> list[str]:
    """How to become the user that Debian made for it, as root's servers are refused; its folder is given to it."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(OWNER)
    for path in (folder, folder / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
