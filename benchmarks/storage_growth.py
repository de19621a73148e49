"""What a run, a session and a year cost in Dagster's storage, and what pruning leaves of it.

`python -m benchmarks.storage_growth`
SQLite, as shipped. Figures: docs/storage_growth.md.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance

from ut_clips_dagster.pruning import prune
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.simulator import SimulatorConfig
from ut_clips_dagster_tests.platform import running_platform
from ut_clips_dagster_tests.sensors.ticks import tick

PAGE_BYTES = 4096


def sizes(home: Path) -> dict[str, int]:
    """Bytes in use: the index's free pages are used again."""

    def total(pattern: str) -> int:
        return sum(path.stat().st_size for path in home.glob(pattern) if path.is_file())

    with sqlite3.connect(home / "history" / "runs" / "index.db") as index:
        pages, free = (index.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return {
        "index": (pages - free) * PAGE_BYTES,
        "logs of runs": total("history/runs/*.db*") - total("history/runs/index.db*"),
        "list of runs": total("history/runs.db*"),
        "files of runs": total("storage/**/*"),
    }


def tell(what: str, before: dict[str, int], after: dict[str, int], of: int) -> None:
    """Print what was added, for each of so many."""
    added = {name: (after[name] - before[name]) / of for name in after}
    parts = ", ".join(f"{name} {size / 1000:,.1f}" for name, size in added.items())
    print(f"{what}: {sum(added.values()) / 1000:,.1f} kB ({parts})", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=24)
    number = parser.parse_args().sessions
    config = SimulatorConfig(sessions=number, clips_total=2 * number, time_scale=500, rate_limit=100_000)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder, "home")
        home.mkdir()
        with running_platform(Path(folder), patch, config) as plain, DagsterInstance.local_temp(str(home)) as instance:
            platform = replace(plain, instance=instance)
            tick(platform, "new_sessions")
            keys = platform.sessions()
            start = sizes(home)
            for key in keys:
                assert platform.run(key).success
            archived = sizes(home)
            tell("A session, archived by a run of its own", start, archived, number)
            for key in keys[:4]:
                assert platform.run(key).success
            by_itself = sizes(home)
            tell("A session listed again, by a run of its own", archived, by_itself, 4)
            assert platform.relist(keys).success
            together = sizes(home)
            tell(f"A session listed again, one run for {number}", by_itself, together, number)
            began = time.monotonic()
            print(f"{prune(instance, now_utc() + timedelta(minutes=1))} {time.monotonic() - began:.1f} s")
            tell("A session, after pruning", start, sizes(home), number)


if __name__ == "__main__":
    main()
