"""The worker process: looks at one file after the other, within limits, and reads it only through its parent.

Started as `python -m ut_clips_dagster.media.worker FD MEMORY_BYTES SECONDS`. It holds no credentials and opens no file:
a request for bytes goes to the parent, and an answer comes back. When the parent is gone, or a file takes longer than
the limit, it ends by itself.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import struct
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection

JOB = struct.Struct(">Q")
"""Parent to worker: a file of so many bytes is to be looked at."""
RANGE = struct.Struct(">QI")
READY, WANTS, FACTS, POSTER = b"H", b"R", b"F", b"P"
"""Worker to parent, first byte of each message: it has started; a range wanted; facts as JSON; the poster, before."""


def serve(parent: Connection, limit_s: int) -> None:
    """Look at files until the parent closes its end."""
    from ut_clips_dagster.media.probe import look  # with PyAV: once the limits hold
    from ut_clips_dagster.media.ranges import RangeFile

    def read_range(start: int, length: int) -> bytes:
        parent.send_bytes(WANTS + RANGE.pack(start, length))
        signal.alarm(0)  # the time that the store takes is not the file's
        data = parent.recv_bytes()
        signal.alarm(limit_s)
        return data

    parent.send_bytes(READY)
    while True:
        (size,) = JOB.unpack(parent.recv_bytes())
        signal.alarm(limit_s)
        looked = look(RangeFile(size, read_range))
        signal.alarm(0)
        if looked.poster is not None:
            parent.send_bytes(POSTER + looked.poster)
        parent.send_bytes(FACTS + json.dumps(asdict(looked.facts)).encode())


def main() -> None:
    """Set the limits, then serve."""
    descriptor, memory_bytes, limit_s = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(EOFError, BrokenPipeError):
        serve(Connection(descriptor), limit_s)


if __name__ == "__main__":
    main()
