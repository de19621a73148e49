"""A worker that some files kill, hang or confuse, as a crash of FFmpeg would."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from ut_clips_dagster.media import probe, worker
from ut_clips_dagster.media.facts import Facts, Looked

SEGFAULT, HANG, HUNGRY, NONSENSE, QUIT = b"segfault", b"hang", b"hungry", b"nonsense", b"quit"
ENVIRONMENT = b"environment"


def look(file: Any) -> Looked:
    order = file.read(16).rstrip(b"\0")
    if order == SEGFAULT:
        os.kill(os.getpid(), signal.SIGSEGV)
    if order == QUIT:
        os._exit(3)
    if order == HANG:
        time.sleep(600)
    if order == HUNGRY:
        return _hungry()
    if order == NONSENSE:
        Connection(int(sys.argv[1])).send_bytes(b"F[1, 2")
    if order == ENVIRONMENT:
        return Looked(Facts(failure=" ".join(os.environ)))
    return Looked(Facts(width=len(order)), poster=order)


def _hungry() -> Looked:
    try:
        bytearray(3 * 1024**3)
    except MemoryError:
        return Looked(Facts(failure="was refused the memory"))
    return Looked(Facts(failure="was given the memory"))


if __name__ == "__main__":
    probe.look = look
    worker.main()
