"""`python -m ut_clips_dagster_tests.hosts [ray|agents]`: a backfill over two hosts, one killed, one cut off for 90 s.

As root, on Linux; it takes about ten minutes. Exit code 1 when anything is not as it should be, 2 where it cannot be
tried. Logs of all processes stay in the directory that it names.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import pytest

from .engines import Agents, Ray
from .faults import CONSOLE, prove

SKIPPED = 2


def main(names: list[str]) -> int:
    """Prove it on each engine named, or on Ray."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    wrong = 0
    for name in names or ["ray"]:
        logs = Path(tempfile.mkdtemp(prefix=f"hosts-{name}-"))
        CONSOLE.print(f"Two hosts, PostgreSQL, S3, runs started by {name}; logs in {logs}")
        try:
            report = prove({"ray": Ray, "agents": Agents}[name](), logs)
        except pytest.skip.Exception as skipped:
            CONSOLE.print(str(skipped))
            return SKIPPED
        wrong += len(report.wrong)
        CONSOLE.print("\n".join(report.wrong) or "All is as it should be.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
