"""One command for the operator's trust: every invariant and every failure of the matrix, each with its result.

    make proof        (or: python -m ut_clips_dagster_tests.proof)

Runs the tests that docs/invariants.md names, the other tests marked `long`, the fault matrix, and backfills over two
hosts by Ray and by Kubernetes' Jobs, of which one is killed and one cut off (as root; it says so where it is skipped).
Exit code 1 when one of them is not as it should.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.table import Table

from ut_clips_dagster_tests.crash.test_invariants import DOCUMENT, TESTS
from ut_clips_dagster_tests.faults.__main__ import main as print_fault_matrix
from ut_clips_dagster_tests.hosts.__main__ import SKIPPED
from ut_clips_dagster_tests.hosts.__main__ import main as prove_on_hosts
from ut_clips_dagster_tests.kubernetes.__main__ import main as prove_on_kubernetes

ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`([^`]+\.py::\w+)`")
REFERENCE = re.compile(r"the tests of (\d+)")


class Outcomes:
    """Collects what became of each test, by `file::test`, whatever its parameters."""

    def __init__(self) -> None:
        self.passed: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.skipped: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest's hook of that name."""
        if report.when != "call" and report.passed:
            return
        test = report.nodeid.split("[")[0].removeprefix(f"{TESTS.name}/")
        counts = self.passed if report.passed else self.skipped if report.skipped else self.failed
        counts[test] = counts.get(test, 0) + 1

    def holds(self, tests: Sequence[str]) -> bool | None:
        """Whether all of them passed; None where none failed, but one was skipped, as it says itself."""
        if any(self.failed.get(test) for test in tests):
            return False
        if all(self.passed.get(test) for test in tests):
            return True
        return None if all(self.passed.get(test) or self.skipped.get(test) for test in tests) else False


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
    told = {True: "[green]yes[/]", False: "[red]NO[/]", None: "[yellow]not tested here[/]"}
    holding: list[bool | None] = []
    for number, (text, proofs) in rows.items():
        passed = sum(outcomes.passed.get(test, 0) for test in proofs)
        holding.append(outcomes.holds(proofs))
        table.add_row(str(number), text, str(len(proofs)), str(passed), told[holding[-1]])
    console = Console(width=160 if not sys.stdout.isatty() else None)
    console.print(table)
    broken, untested = holding.count(False), holding.count(None)
    console.print(f"{holding.count(True)} invariants hold, {broken} not, {untested} were not tested here.")
    matrix, hosts = print_fault_matrix(), (prove_on_hosts(["ray"]), prove_on_kubernetes())
    return int(bool(matrix or broken or others or any(code not in (0, SKIPPED) for code in hosts)))


if __name__ == "__main__":
    sys.exit(main())
