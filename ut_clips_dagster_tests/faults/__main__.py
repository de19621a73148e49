"""Prints the fault matrix: each failure, what came of it, and whether that is right. Exit code 1 when one is not."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .judge import run_row
from .matrix import MATRIX
from .row import CLIPS_OF_A, FAULTLESS, Found, Row


def main() -> int:
    """Run every row; print each with its result."""
    console = Console(width=200 if not sys.stdout.isatty() else None)
    began = time.monotonic()
    table = Table("failure", "archive", "kept", "rows", "the other", "requests", "message", "as expected")
    wrong = 0
    with (
        GcsEmulator() as gcs,
        S3Emulator() as s3,
        tempfile.TemporaryDirectory() as folder,
        console.status("") as status,
    ):
        for number, row in enumerate(MATRIX):
            status.update(f"{number + 1} of {len(MATRIX)}: {row.name}")
            found = run_row(row, Path(folder, str(number)), s3 if row.store == "s3" else gcs)
            wrong += bool(found.wrong)
            table.add_row(*_cells(row, found))
    console.print(table)
    console.print(
        f"{len(MATRIX)} failures, each injected into a batch of two sessions; the first has {CLIPS_OF_A} clips. "
        f"Without any failure the batch takes {FAULTLESS} requests."
    )
    console.print(f"{len(MATRIX) - wrong} as expected, {wrong} not, in {time.monotonic() - began:.0f} s.")
    return 1 if wrong else 0


def _cells(row: Row, found: Found) -> tuple[str, ...]:
    message = "" if found.error is None else found.error.splitlines()[0]
    verdict = "[green]yes[/]" if not found.wrong else "[red]NO: " + "; ".join(found.wrong)
    rows = "none" if found.rows is None else ", ".join(found.rows) or "zero clips"
    shown = "" if not message else f"…{row.message}…" if row.message in message else message
    return (row.name, row.store, f"{found.kept}", rows, found.other, f"{found.requests}", shown, verdict)


if __name__ == "__main__":
    sys.exit(main())
