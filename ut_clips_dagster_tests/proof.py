"""One command for the operator's trust: every invariant and every failure of the matrix, each with its result.

    make proof        (or: python -m ut_clips_dagster_tests.proof)

Runs the tests that docs/invariants.md names, the other tests marked `long`, and the fault matrix. Exit code 1 when one
of them is not as it should.
"""

from __future__ import annotations

import re
import sys

import pytest
from rich.console import Console
from rich.table import Table

from ut_clips_dagster_tests.crash.test_invariants import DOCUMENT, TESTS
from ut_clips_dagster_tests.faults.__main__ import main as print_fault_matrix

ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([^`]+\.py::\w+)`")
REFERENCE = re.compile(r"the tests of (\d+)")


class Outcomes:
    """Collects what became of each test, by `file::test`, whatever its parameters."""

    def __init__(self) -> None:
        self.passed: dict[str, int] = {}
        self.failed: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest's hook of that name."""
        if report.when != "call" and report.passed:
            return
        test = report.nodeid.split("[")[0].removeprefix(f"{TESTS.name}/")
        counts = self.passed if report.passed else self.failed
        counts[test] = counts.get(test, 0) + 1


def invariants() -> dict[int, tuple[str, list[str]]]:
    """Number -> (what always holds, the tests that prove it), as the document says."""
    found: dict[int, tuple[str, list[str]]] = {}
    for number, text, proofs in ROW.findall(DOCUMENT.read_text()):
        reference = REFERENCE.search(proofs)
        shared = found[int(reference[1])][1] if reference else []
        found[int(number)] = (text, [*shared, *TEST.findall(proofs)])
    return found


def main() -> int:
    """Run all, print all; 0 when everything holds."""
    rows = invariants()
    tests = list(dict.fromkeys(test for _, proofs in rows.values() for test in proofs))
    outcomes = Outcomes()
    options = ["-q", "-n", "0", "--no-header", "-W", "ignore:Module already imported", "--timeout", "3600"]
    pytest.main([*options, "-m", "", *(str(TESTS / test) for test in tests)], plugins=[outcomes])
    named = [f"--deselect={TESTS.name}/{test}" for test in tests]
    others = pytest.main([*options, "-m", "long", *named, str(TESTS)])
    table = Table("#", "always", "tests", "passed", "holds")
    broken = 0
    for number, (text, proofs) in rows.items():
        passed = sum(outcomes.passed.get(test, 0) for test in proofs)
        holds = all(outcomes.passed.get(test) and not outcomes.failed.get(test) for test in proofs)
        broken += not holds
        table.add_row(str(number), text, str(len(proofs)), str(passed), "[green]yes[/]" if holds else "[red]NO[/]")
    console = Console(width=160 if not sys.stdout.isatty() else None)
    console.print(table)
    console.print(f"{len(rows) - broken} invariants hold, {broken} not.")
    return print_fault_matrix() or int(bool(broken or others))


if __name__ == "__main__":
    sys.exit(main())
