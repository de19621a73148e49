"""The long proofs: `python -m ut_clips_dagster_tests.crash --kills 100`, or `--relist 100`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .kills import prove
from .relisting import relist


def main() -> None:
    """Prove it, and say what was seen."""
    parser = argparse.ArgumentParser(prog="python -m ut_clips_dagster_tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--relist", type=int, help="so many rounds of processes that relist the same sessions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ut-clips-kills-") as folder:
        if options.relist:
            proof = str(relist(f"{folder}/archive", Path(folder), options.relist, {}))
        else:
            proof = str(prove(Path(folder), options.kills, options.seed))
    print(proof)  # noqa: T201 - a command


if __name__ == "__main__":
    main()
