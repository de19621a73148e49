"""Dagster stays at the edges, and imports point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ut_clips_dagster

PACKAGE = Path(ut_clips_dagster.__file__).parent
INNER = ("results_api", "archive", "storage", "simulator", "transcripts")
MAY_IMPORT = {
    "results_api": {"errors", "hosts", "results_api"},
    "storage": {"errors", "storage"},
    "archive": {"errors", "archive", "results_api", "storage"},
    "simulator": {"simulator"},
    "transcripts": {"errors", "archive", "results_api", "storage", "transcripts"},
}


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("folder", INNER)
def test_inner_folders_know_nothing_of_dagster(folder: str) -> None:
    files = list((PACKAGE / folder).rglob("*.py"))
    assert files
    for path in files:
        assert not {name for name in imports_of(path) if name.split(".")[0].startswith("dagster")}, path


@pytest.mark.parametrize("folder", INNER)
def test_imports_point_one_way(folder: str) -> None:
    for path in (PACKAGE / folder).rglob("*.py"):
        ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("ut_clips_dagster.")}
        assert ours <= MAY_IMPORT[folder], path


def test_only_definitions_and_commands_read_the_environment() -> None:
    allowed = {"definitions.py", "settings.py", "session_table.py", "demo.py", "platform.py"}
    readers = {path.name for path in PACKAGE.rglob("*.py") if "os.environ" in path.read_text()}
    assert readers <= allowed
