"""Has files looked at by one worker process; a file that kills it costs that file's facts, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ut_clips_dagster.errors import MediaError
from ut_clips_dagster.media.facts import Facts, Looked
from ut_clips_dagster.media.ranges import ReadRange
from ut_clips_dagster.media.worker import FACTS, JOB, POSTER, RANGE, READY, WANTS

MEMORY_BYTES = 2 * 1024**3
LIMIT_S = 20.0
"""Time of the worker for one file; what the store takes for the bytes does not count."""
START_LIMIT_S = 60.0
MAX_RANGES = 20_000
MAX_MESSAGE_BYTES = 1024 * 1024
NEEDED = ("PATH", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_", "LANG", "LC_", "TZ")
"""Beginnings of the names of variables that the worker inherits."""
WORKER = "ut_clips_dagster.media.worker"


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection


class Prober:
    """Looks at files, one at a time. The worker starts with the first; use it in a `with` block, which ends it.

    Args:
        limit_s: seconds for one file.
        memory_bytes: address space of the worker.
        clock: monotonic seconds.
        module: the worker's; a test's own dies as it is told.
    """

    def __init__(
        self,
        limit_s: float = LIMIT_S,
        memory_bytes: int = MEMORY_BYTES,
        clock: Callable[[], float] = time.monotonic,
        module: str = WORKER,
    ) -> None:
        self._limit_s = limit_s
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._module = module
        self._worker: _Worker | None = None
        self.deaths = 0
        """Workers that a file killed."""

    def __enter__(self) -> Prober:  # noqa: PYI034 - typing.Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def look(self, size_bytes: int, read_range: ReadRange) -> Looked:
        """Facts and poster of a file of so many bytes, whose ranges `read_range` gives.

        Raises:
            StorageError: `read_range` did; nothing is known of the file then.
            MediaError: the worker does not start.
        """
        first = self._look_once(size_bytes, read_range)
        # a machine that was short of memory or time for a moment is no fact of the file: asked once more
        return first if isinstance(first, Looked) else self._told(self._look_once(size_bytes, read_range))

    def _look_once(self, size_bytes: int, read_range: ReadRange) -> Looked | str:
        """What was found, or how the worker ended."""
        worker = self._started()
        try:
            worker.pipe.send_bytes(JOB.pack(size_bytes))
            return self._converse(worker.pipe, read_range)
        except TimeoutError:
            self.close()
            return self._too_long
        except (EOFError, OSError, ValueError, TypeError, struct.error):  # it is dead, or talks nonsense
            return self._death(worker)
        except BaseException:  # the store failed, or a person ended it: the worker still waits for its bytes
            self.close()
            raise

    @staticmethod
    def _told(second: Looked | str) -> Looked:
        return Looked(Facts(failure=second)) if isinstance(second, str) else second

    @property
    def _too_long(self) -> str:
        return f"takes longer than {self._limit_s:.0f} s to be looked at"

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.pipe.close()
            self._worker.process.kill()
            self._worker.process.wait()
            self._worker = None

    def _converse(self, pipe: Connection, read_range: ReadRange) -> Looked:
        poster: bytes | None = None
        left_s, ranges = self._limit_s, 0
        while True:
            begun = self._clock()
            if not pipe.poll(max(0.0, left_s)) or ranges > MAX_RANGES:
                raise TimeoutError
            message = pipe.recv_bytes(MAX_MESSAGE_BYTES)
            left_s -= self._clock() - begun
            kind, body = message[:1], message[1:]
            if kind == WANTS:
                ranges += 1
                pipe.send_bytes(read_range(*RANGE.unpack(body)))
            elif kind == POSTER:
                poster = body
            elif kind == FACTS:
                return Looked(Facts(**json.loads(body)), poster)

    def _started(self) -> _Worker:
        if self._worker is None:
            ours, theirs = Pipe()
            with theirs:
                limits = (str(self._memory_bytes), str(int(self._limit_s) + 1))
                process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", self._module, str(theirs.fileno()), *limits],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: value for name, value in os.environ.items() if name.startswith(NEEDED)},  # no secret
                    stderr=subprocess.DEVNULL,  # what FFmpeg says of a file is no log of ours
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl+C is for us; we end it
                )
            self._worker = _Worker(process, ours)
            self._await_ready(ours)
        return self._worker

    def _await_ready(self, pipe: Connection) -> None:
        """A worker that cannot even start says nothing of a file: nothing is recorded then."""
        try:
            if pipe.poll(START_LIMIT_S) and pipe.recv_bytes(1) == READY:
                return
        except (EOFError, OSError):
            """Told below."""
        self.close()
        raise MediaError(
            "The process that looks at clips does not start: nothing was looked at. Check the installation "
            "(python -c 'import av') and the machine's free memory."
        )

    def _death(self, worker: _Worker) -> str:
        self.deaths += 1
        try:
            code = worker.process.wait(5)
        except subprocess.TimeoutExpired:  # it lives, but talks nonsense
            code = 0
        self.close()
        if code == -signal.SIGALRM:
            return self._too_long
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"ends the program that looks at it ({how})"
