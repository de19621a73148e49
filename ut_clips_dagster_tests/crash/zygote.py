"""A process that has imported everything, and forks a worker whenever it is asked for one: that takes milliseconds.

It reads one job a line, and answers with two: the worker's process ID, and how it ended. It never uses what it
imports itself, so that no thread of theirs is there when it forks.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import IO

ROOT = Path(__file__).parents[2]


class Workers:
    """Starts workers, one at a time, for as long as the `with` block lasts."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._requests: IO[str]
        self._answers: IO[str]

    def __enter__(self) -> Workers:  # noqa: PYI034 - typing.Self came with Python 3.11
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "ut_clips_dagster_tests.crash.zygote"],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._zygote.stdin
        assert self._zygote.stdout
        self._requests, self._answers = self._zygote.stdin, self._zygote.stdout
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._requests.close()
        self._zygote.wait(30)
        self._answers.close()

    def start(self, job: str) -> int:
        """Start a worker on a job (JSON); returns its process ID."""
        self._requests.write(f"{job}\n")
        self._requests.flush()
        return int(self._line())

    def wait(self) -> int:
        """The worker's exit code, or minus the signal that ended it."""
        return int(self._line())

    def _line(self) -> str:
        line = self._answers.readline()
        assert line, "the zygote has ended"
        return line


def main() -> None:
    """Serve until the input ends."""
    from ut_clips_dagster_tests.crash import worker

    context = ssl.create_default_context()
    ssl.create_default_context = lambda *_, **__: context  # reading all certificates takes as long as the archiving

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(2, 1)
                code = worker.run(worker.Job.model_validate_json(line))
            except BaseException:  # noqa: BLE001 - the child must not go on as a second zygote
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)  # noqa: T201 - the protocol
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    main()
