from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster_tests.storage.conftest import gcs_store

__all__ = ["gcs_store"]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty archive in a directory."""
    return LocalStore(tmp_path / "archive")
