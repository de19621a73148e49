"""Both places that an archive can be in, so that one suite runs over both."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.cloud.storage.retry import DEFAULT_RETRY

from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator

FAST = DEFAULT_RETRY.with_delay(initial=0.02, maximum=0.1).with_timeout(2)


@pytest.fixture(params=["directory", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty archive."""
    if request.param == "directory":
        return LocalStore(tmp_path / "archive")
    return request.getfixturevalue("gcs_store")


@pytest.fixture
def gcs_store(gcs_emulator: GcsEmulator, gcs_bucket: str) -> GcsStore:
    """An empty archive in GCS, below a prefix."""
    return GcsStore(gcs_emulator.storage_client(), gcs_bucket, "some/prefix", retry=FAST)
