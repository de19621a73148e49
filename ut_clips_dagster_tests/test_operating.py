"""The runbook knows every finding of `ut-clips health`, and every message that a person may be shown."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ut_clips_dagster import errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ut_clips_dagster"
RUNBOOK = " ".join((ROOT / "docs" / "operating.md").read_text().split())
OURS = {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.ClipsError)
}
NOT_AN_OPERATORS = {"simulator", "simulator.py", "demo.py"}
VARIABLE = "\0"


def calls(path: Path, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names and node.args:
            yield node


def literal(node: ast.expr) -> str:
    """The text of a message, with a mark for each value that is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(value) for value in node.values)
    return VARIABLE


def search_words(message: str) -> str:
    """What a person would search for: the longest piece of the first sentence that is the same each time."""
    sentence = re.split(r"\.(?:\s|$)", message)[0]
    return max((" ".join(piece.split()).strip(" :;,.()") for piece in sentence.split(VARIABLE)), key=len)


def messages() -> dict[str, str]:
    """Words to search for -> where it is raised; without those that only pass another error's text on."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if NOT_AN_OPERATORS.isdisjoint(path.relative_to(PACKAGE).parts):
            for call in calls(path, OURS):
                words = search_words(literal(call.args[0]))
                if len(words.split()) > 1:
                    found[words] = f"{path.relative_to(PACKAGE)}:{call.lineno}"
    return found


def test_every_finding_of_health_has_a_section() -> None:
    kinds = {
        literal(call.args[0]).replace(VARIABLE, "…") for call in calls(PACKAGE / "health/findings.py", {"Finding"})
    }
    assert {"daemon", "discovery:silent", "sensor:…:off"} <= kinds, "they are not found as they are written"
    sections = set(re.findall(r"`([^`]+)`", " ".join(re.findall(r" #### (.+?) \*", RUNBOOK))))

    assert kinds - {"discovery:…"} <= sections
    assert {f"discovery:{kind}" for kind in ("credentials", "access:…", "budget", "outage")} <= sections


def test_every_message_can_be_searched_for() -> None:
    found = messages()
    assert found.keys() >= {"The token endpoint", "was still GENERATING after"}, (
        "they are not found as they are written"
    )

    assert {words: place for words, place in found.items() if words not in RUNBOOK} == {}
