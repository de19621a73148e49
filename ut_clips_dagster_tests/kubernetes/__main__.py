"""`python -m ut_clips_dagster_tests.kubernetes`: a backfill by Jobs on two nodes, one killed, one cut off for 90 s.

As root, on Linux, with Python 3.11; it takes about ten minutes. Exit code 1 when anything is not as it should be, 2
where it cannot be tried. What is not proven by it: docs/kubernetes.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from ut_clips_dagster_tests.hosts.__main__ import SKIPPED
from ut_clips_dagster_tests.hosts.faults import CONSOLE, prove


def main() -> int:
    """Prove it."""
    logs = Path(tempfile.mkdtemp(prefix="kubernetes-"))
    CONSOLE.print(f"Two nodes, PostgreSQL, S3, runs started by K8sRunLauncher; logs in {logs}")
    try:
        pytest.importorskip("kmock", reason="KUBERNETES IS NOT TESTED: kmock needs Python 3.11")
        from .engine import Kubernetes

        report = prove(Kubernetes(logs), logs)
    except pytest.skip.Exception as skipped:
        CONSOLE.print(str(skipped))
        return SKIPPED
    CONSOLE.print("\n".join(report.wrong) or "All is as it should be.")
    return int(bool(report.wrong))


if __name__ == "__main__":
    sys.exit(main())
