"""Hosts in namespaces of their own (network, processes, mounts, name) on one switch, and no route to anywhere else.

Their addresses are of 127.77.0.0/24, which are loopback's for everything that asks, and yet go over the wire here: so
http is allowed, as it is on one machine, and a link that is cut is cut for every connection.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]
NET = "127.77.0"
CLONE_NEWNET = 0x40000000
UNSHARE = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--mount",
    "--uts",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
INIT = """
trap '' CHLD HUP INT TERM
hostname "$1"
ip link set lo up
mount -t tmpfs shm /dev/shm
mkdir -p "$2" "$3" && mount --bind "$2" "$3"
echo booted
exec sleep infinity
"""
"""The first process: it ends when the test does, and all others of the host with it. It reads nothing and heeds no
signal: a shell that waited for input ended when Ray's raylet did."""


class Host:
    """One machine: everything in it can be killed at once, and its link can be cut.

    Attributes:
        name: its host name.
        address: on the switch.
        folder: its disk, as seen from outside.
    """

    def __init__(self, lan: Lan, name: str, number: int) -> None:
        self.name, self.address = name, f"{NET}.{number}"
        self.folder = lan.folder / name
        self._lan = lan
        self._shell: subprocess.Popen[bytes] | None = None
        self._init = 0

    def boot(self) -> None:
        """Start it, with an empty disk where all hosts have theirs (`Lan.disk`)."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shell = ["sh", "-ec", INIT, "init", self.name, str(self.folder), str(self._lan.disk)]
        self._shell = subprocess.Popen(
            [*UNSHARE, *shell], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._shell.stdout is not None
        if self._shell.stdout.readline() != b"booted\n":
            pytest.skip("SEVERAL HOSTS ARE NOT TESTED: namespaces cannot be made here")
        (child,) = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text().split()
        self._init = int(child)
        if self is not self._lan.switch:
            self._plug_in()

    def popen(self, *words: str, env: Mapping[str, str], log: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start a command in it, from the project's root."""
        enter = ["nsenter", f"--target={self._init}", "--net", "--mount", "--uts", "--pid", f"--wd={ROOT}"]
        return subprocess.Popen(
            [*enter, *words], env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def kill(self) -> None:
        """As by a power cut: nobody hears of it, and nothing of it is left."""
        self.cut()
        self._end()

    def cut(self) -> None:
        """Take its link off the switch: its packets vanish, and nobody is told."""
        self._lan.configure(f"ip link set dev {self.name} nomaster")

    def join(self) -> None:
        """Put its link back."""
        self._lan.configure(f"ip link set dev {self.name} master br0")

    def processes(self, containing: str) -> int:
        """How many of its processes have this in their command line."""
        found = 0
        for entry in Path(f"/proc/{self._init}/root/proc").iterdir() if self._init else ():
            with suppress(OSError):
                found += entry.name.isdigit() and containing.encode() in (entry / "cmdline").read_bytes()
        return found

    def network(self) -> Path:
        """The file that stands for its network namespace."""
        return Path(f"/proc/{self._init}/ns/net")

    def _plug_in(self) -> None:
        """A cable from the switch, and no route but to those on it."""
        self._lan.configure(
            f"ip link add name {self.name} type veth peer name cable",
            f"ip link set dev cable netns {self._init}",
            f"ip link set dev {self.name} master br0 up",
        )
        _configure(
            self._init,
            "ip link set dev cable name eth0",
            "sysctl -qw net.ipv4.conf.all.route_localnet=1",
            "ip route del local 127.0.0.0/8 dev lo table local",
            "ip route add local 127.0.0.0/16 dev lo table local src 127.0.0.1",
            f"ip addr add {self.address}/24 dev eth0",
            "ip link set eth0 up",
        )

    def _end(self) -> None:
        """End all its processes, and take its cable away: the kernel does so only some time after the last of them."""
        if self._shell is None:
            return
        if self is not self._lan.switch:
            self._lan.configure(f"ip link del dev {self.name}")
        with suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        self._shell.wait(10)
        if self._shell.stdout:
            self._shell.stdout.close()
        self._shell, self._init = None, 0


class Lan:
    """A switch and its hosts.

    Attributes:
        disk: the path at which every host has a directory of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.disk = folder, folder / "disk"
        self.switch = Host(self, "switch", 0)
        self._hosts: list[Host] = []

    def host(self, name: str) -> Host:
        """A new host, at the next address."""
        host = Host(self, name, len(self._hosts) + 1)
        self._hosts.append(host)
        host.boot()
        return host

    def configure(self, *commands: str) -> None:
        """Run commands in the switch's network."""
        _configure(self.switch._init, *commands)

    def start(self) -> None:
        """Start the switch."""
        self.switch.boot()
        self.configure("ip link add br0 type bridge", "ip link set br0 up")

    def stop(self) -> None:
        """End everything."""
        for host in (*self._hosts, self.switch):
            host._end()


def _configure(init: int, *commands: str) -> None:
    for command in commands:
        subprocess.run(["nsenter", f"--target={init}", "--net", *command.split()], check=True, timeout=30)


@contextmanager
def lan() -> Iterator[Lan]:
    """A switch without hosts; skips loudly where namespaces cannot be made."""
    missing = [name for name in ("setpriv", "unshare", "nsenter", "ip", "mount") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"SEVERAL HOSTS ARE NOT TESTED: it takes root and {', '.join(missing) or 'nothing else'}")
    folder = Path(tempfile.mkdtemp(prefix="lan-", dir="/tmp"))  # short: sockets of Unix have a hundred letters
    network = Lan(folder)
    try:
        network.start()
        yield network
    finally:
        network.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def inside(host: Host) -> Iterator[None]:
    """This thread, and every thread and process that it starts, is in the host's network; the rest stays as it is."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(file: Path | int) -> None:
        descriptor = os.open(file, os.O_RDONLY) if isinstance(file, Path) else file
        try:
            if libc.setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    enter(host.network())
    try:
        yield
    finally:
        enter(before)
