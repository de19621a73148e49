"""Dagster stays at the edges, and imports point one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import ut_clips_dagster

PACKAGE = Path(ut_clips_dagster.__file__).parent
ROOMS = ("export", "gallery", "health", "media", "simulator", "transcripts", "warehouse")
INNER = ("results_api", "archive", "storage", *ROOMS)
MAY_IMPORT = {
    "results_api": {"errors", "hosts", "plain_text", "redaction", "results_api"},
    "storage": {"errors", "plain_text", "redaction", "storage"},
    "archive": {"clock", "errors", "archive", "results_api", "storage"},
    "media": {"errors", "archive", "media", "results_api", "storage"},
    "gallery": {"errors", "gallery", "storage"},
    "export": {"errors", "archive", "export", "gallery", "plain_text", "storage"},
    "simulator": {"simulator"},
    "health": {"clock", "errors", "archive", "results_api", "storage", "health"},
    "warehouse": {"errors", "storage", "warehouse"},
    "transcripts": {"clock", "errors", "archive", "results_api", "storage", "transcripts"},
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
    ours = {
        (path.name, name.split(".")[1])
        for path in (PACKAGE / folder).rglob("*.py")
        for name in imports_of(path)
        if name.startswith("ut_clips_dagster.")
    }
    assert ours
    assert {(file, module) for file, module in ours if module not in MAY_IMPORT[folder]} == set()


def test_boto3_is_imported_for_an_archive_in_s3_alone() -> None:
    """It is of an extra, and slow: nothing imports it, or what does so, at its top."""
    s3 = {"boto3", "botocore", "dagster_aws"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "storage" and path.name.startswith("s3"):
            continue
        at_top = names_of(ast.parse(path.read_text()).body)
        assert not {n for n in at_top if n.split(".")[0] in s3 or n.startswith("ut_clips_dagster.storage.s3")}, path


def test_only_definitions_and_commands_read_the_environment() -> None:
    allowed = {"gallery.py", "prober.py", "definitions.py", "settings.py", "delta_options.py"}
    allowed |= {"demo.py", "platform.py", "console.py", "delivery.py"}
    readers = {path.name for path in PACKAGE.rglob("*.py") if "os.environ" in path.read_text()}
    assert readers <= allowed


def test_the_worker_that_reads_hostile_files_imports_nothing_that_holds_credentials() -> None:
    """It starts in a tenth of a second, and of the archive it has what its parent gives it."""
    code = "import sys; import ut_clips_dagster.media.worker, ut_clips_dagster.media.probe; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    ours = {name for name in modules if name.startswith("ut_clips_dagster.")}
    assert ours == {f"ut_clips_dagster.{name}" for name in (
        "media", "media.worker", "media.probe", "media.facts", "media.poster"
    )}  # fmt: skip
    assert not {"dagster", "google.cloud", "pydantic", "httpx", "pandas", "numpy"} & set(modules)
