"""An export beside `cp -r` of the same clips, in turn.

`python -m benchmarks.export [--clips 10000] [--kb 200] [--rounds 3]`

Both read the page cache and sync nothing; the export also compares each clip's checksum and writes a row for it.
"""

from __future__ import annotations

import argparse
import base64
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pyarrow as pa
from deltalake import write_deltalake

from ut_clips_dagster.cli.sql_engine import connected
from ut_clips_dagster.export.report import Order
from ut_clips_dagster.export.selection import selecting
from ut_clips_dagster.export.work import export
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import SCHEMA

CLIPS_PER_SESSION = 5


def make_archive(root: Path, clips: int, size_bytes: int) -> None:
    """Clips of random bytes, their documents and rows."""
    dice = random.Random(0)
    study, rows = str(uuid.UUID(int=1)), []
    for number in range(clips):
        if number % CLIPS_PER_SESSION == 0:
            session = str(uuid.UUID(int=dice.getrandbits(128)))
            (root / "sessions" / session).mkdir(parents=True)
            (root / "sessions" / session / "clip_files.json").write_text("{}")
            (root / "clips" / study / session).mkdir(parents=True)
        clip, content = str(uuid.UUID(int=dice.getrandbits(128))), dice.randbytes(size_bytes)
        path = f"clips/{study}/{session}/{clip}.mp4"
        (root / path).write_bytes(content)
        crc32c = base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
        known = {"session_id": session, "study_uuid": study, "clip_uuid": clip, "clip_name": str(number),
                 "status": "STORED", "listed": True,
                 "storage_path": path, "size_bytes": size_bytes, "crc32c": crc32c}  # fmt: skip
        rows.append({**dict.fromkeys(SCHEMA.names), **known})
    write_deltalake(str(root / "clip_metadata"), pa.Table.from_pylist(rows, schema=SCHEMA))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def exported(store: LocalStore, kind: str, target: Path, *, link: bool = False) -> None:
    with connected(store.uri, selecting("")) as connection:
        order = Order(target, link=link)
        report = export(connection, store, kind, order, lambda _clips, _bytes: lambda _more_clips, _more_bytes: None)
    if report.left_out:
        raise SystemExit(f"{len(report.left_out)} clips were left out.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--kb", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "archive")
        make_archive(root, arguments.clips, arguments.kb * 1000)
        store, target = LocalStore(root), Path(scratch, "copy")
        works: dict[str, Callable[[], object]] = {
            "cp -r": lambda: subprocess.run(["cp", "-r", str(root / "clips"), str(target)], check=True),
            "videofolder": lambda: exported(store, "videofolder", target),
            "webdataset": lambda: exported(store, "webdataset", target),
            "videofolder --link": lambda: exported(store, "videofolder", target, link=True),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(arguments.rounds):
            for name, work in works.items():
                times[name].append(timed(work))
                if name == "videofolder":
                    again = timed(work)
                shutil.rmtree(target)
        megabytes = arguments.clips * arguments.kb / 1000
        print(f"{arguments.clips:,} clips of {arguments.kb:,} kB, median of {arguments.rounds}, in turn:")
        for name, seconds in times.items():
            median = statistics.median(seconds)
            ratios = [copied / taken for copied, taken in zip(times["cp -r"], seconds, strict=True)]
            print(
                f"{name:<20} {median:6.2f} s {megabytes / median:8,.0f} MB/s   {statistics.median(ratios):.2f} of cp -r"
            )
        print(f"{'again, unchanged':<20} {again:6.2f} s")


if __name__ == "__main__":
    sys.exit(main())
