from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster_tests.gcs_emulator import GcsEmulator

from .relisting import relist


@pytest.mark.long
def test_rows_are_what_the_documents_say_after_three_processes_relisted_the_same_sessions(tmp_path: Path) -> None:
    relisted = relist(str(tmp_path / "archive"), tmp_path, 6, {})

    assert (relisted.rounds, relisted.differing) == (6, 0)


@pytest.mark.long
def test_rows_are_what_the_documents_say_in_a_bucket_too(
    tmp_path: Path, gcs_emulator: GcsEmulator, gcs_bucket: str
) -> None:
    relisted = relist(f"gs://{gcs_bucket}/archive", tmp_path, 2, gcs_emulator.environment)

    assert (relisted.rounds, relisted.differing) == (2, 0)
