"""Dagster stays at the edges, and imports point one way."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

import ut_clips_dagster

PACKAGE = Path(ut_clips_dagster.__file__).parent
INNER = ("results_api", "archive", "storage", "simulator", "health")
MAY_IMPORT = {
    "results_api": {"errors", "hosts", "plain_text", "results_api"},
    "storage": {"errors", "storage"},
    "archive": {"errors", "archive", "results_api", "storage"},
    "simulator": {"simulator"},
    "health": {"errors", "archive", "results_api", "storage", "health"},
}


def imports_of(path: Path) -> set[str]:
    return names_of(ast.walk(ast.parse(path.read_text())))


def names_of(nodes: Iterable[ast.AST]) -> set[str]:
    nodes = list(nodes)
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


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


def test_boto3_is_imported_for_an_archive_in_s3_alone() -> None:
    """It is of an extra, and slow: nothing imports it, or what does so, at its top."""
    s3 = {"boto3", "botocore", "dagster_aws"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "storage" and path.name.startswith("s3"):
            continue
        at_top = names_of(ast.parse(path.read_text()).body)
        assert not {n for n in at_top if n.split(".")[0] in s3 or n.startswith("ut_clips_dagster.storage.s3")}, path


def test_only_definitions_and_commands_read_the_environment() -> None:
    allowed = {"definitions.py", "settings.py", "session_table.py", "demo.py", "platform.py"}
    readers = {path.name for path in PACKAGE.rglob("*.py") if "os.environ" in path.read_text()}
    assert readers <= allowed
