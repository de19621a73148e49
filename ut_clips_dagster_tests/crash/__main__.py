"""The long proof: `python -m ut_clips_dagster_tests.crash --kills 100`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .kills import prove


def main() -> None:
    """Prove it, and say what was seen."""
    parser = argparse.ArgumentParser(prog="python -m ut_clips_dagster_tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ut-clips-kills-") as folder:
        print(prove(Path(folder), options.kills, options.seed))  # noqa: T201 - a command


if __name__ == "__main__":
    main()
