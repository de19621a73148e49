"""The long proofs: `python -m ut_clips_dagster_tests.crash --kills 100`, or `--relist 100`; `--on` a bucket, too."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .kills import prove
from .relisting import relist

PLACES = ("directory", "gcs", "moto", "ministack")


@contextmanager
def archive_on(place: str, folder: Path) -> Iterator[str]:
    """Where an empty archive can be; this process and its children are led to the emulator, if it is in one."""
    if place == "directory":
        yield str(folder / "archive")
        return
    emulator = GcsEmulator() if place == "gcs" else S3Emulator("ministack" if place == "ministack" else "moto")
    with emulator:
        os.environ.update(emulator.environment)
        yield f"{'gs' if place == 'gcs' else 's3'}://{emulator.create_bucket('crash-proof')}/archive"


def main() -> None:
    """Prove it, and say what was seen."""
    parser = argparse.ArgumentParser(prog="python -m ut_clips_dagster_tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--relist", type=int, help="so many rounds of processes that relist the same sessions")
    parser.add_argument("--on", choices=PLACES, default="directory", help="where the archive is: gcs and S3 emulated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ut-clips-kills-") as path:
        folder = Path(path)
        with archive_on(options.on, folder) as archive:
            if options.relist:
                proof = str(relist(archive, folder, options.relist, {}))
            else:
                proof = str(prove(folder, options.kills, options.seed, archive))
    print(proof)  # noqa: T201 - a command


if __name__ == "__main__":
    main()
