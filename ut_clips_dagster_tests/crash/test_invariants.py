"""The written list of invariants names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "invariants.md"


def rows() -> dict[int, str]:
    found = re.findall(r"^\| (\d+) \|[^|]+\|([^|]+)\|$", DOCUMENT.read_text(), re.MULTILINE)
    return {int(number): proofs for number, proofs in found}


def test_invariants_are_numbered_without_a_gap_and_each_names_its_proof() -> None:
    assert list(rows()) == list(range(1, len(rows()) + 1))
    for number, proofs in rows().items():
        tests, reference = re.findall(r"`[^`]+::[^`]+`", proofs), re.search(r"the tests of (\d+)", proofs)
        assert tests or reference, f"invariant {number} names no test"
        assert reference is None or int(reference[1]) < number


def test_tests_that_prove_the_invariants_exist() -> None:
    named = re.findall(r"`([^`]+\.py)::(\w+)`", DOCUMENT.read_text())
    assert named
    for file, test in named:
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"{file}::{test}"
