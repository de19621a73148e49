"""All places that an archive can be in, so that one suite runs over them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import botocore.endpoint
import pytest
from google.cloud.storage.retry import DEFAULT_RETRY

from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.s3 import S3Store
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

FAST = DEFAULT_RETRY.with_delay(initial=0.02, maximum=0.1).with_timeout(2)
PLACES = ["directory", "gcs", "moto", "ministack"]


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty archive."""
    if request.param == "directory":
        return LocalStore(tmp_path / "archive")
    if request.param == "gcs":
        return request.getfixturevalue("gcs_store")
    return request.getfixturevalue("s3_store")


@pytest.fixture
def gcs_store(gcs_emulator: GcsEmulator, gcs_bucket: str) -> GcsStore:
    """An empty archive in GCS, below a prefix."""
    return GcsStore(gcs_emulator.storage_client(), gcs_bucket, "some/prefix", retry=FAST)


@pytest.fixture
def s3_store(s3_emulator: S3Emulator, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """An empty archive in S3, below a prefix."""
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))
    return S3Store(s3_emulator.client(), s3_bucket, "some/prefix")
