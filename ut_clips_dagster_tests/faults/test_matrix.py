"""Every row of the fault matrix comes out as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .judge import run_row
from .matrix import MATRIX
from .row import Row


@pytest.mark.parametrize("row", [row for row in MATRIX if row.store == "directory"], ids=lambda row: row.id)
def test_a_failure_in_a_directory(row: Row, tmp_path: Path) -> None:
    assert run_row(row, tmp_path / "archive").wrong == ()


@pytest.mark.parametrize("row", [row for row in MATRIX if row.store == "gcs"], ids=lambda row: row.id)
def test_a_failure_in_gcs(row: Row, tmp_path: Path, gcs_emulator: GcsEmulator) -> None:
    assert run_row(row, tmp_path / "archive", gcs_emulator).wrong == ()


@pytest.mark.long
@pytest.mark.parametrize("row", [row for row in MATRIX if row.store == "s3"], ids=lambda row: row.id)
def test_a_failure_in_s3(row: Row, tmp_path: Path, s3_emulator: S3Emulator) -> None:
    assert run_row(row, tmp_path / "archive", s3_emulator).wrong == ()


def test_names_of_rows_are_unique() -> None:
    assert len({row.id for row in MATRIX}) == len(MATRIX)
