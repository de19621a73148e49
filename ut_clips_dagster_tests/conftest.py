"""What all tests share: emulators of GCS and S3, no real credentials, no proxy before loopback, no wait for a disk.

Dagster's SQLite syncs with the disk after each event, for a third of an archive's time in a test.
"""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from .gcs_emulator.fixtures import gcs_bucket, gcs_emulator
from .read_once import read_once
from .s3_emulator.fixtures import ministack_emulator, moto_emulator, s3_bucket, s3_emulator

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 4 * 1024**3
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
read_once()

settings.register_profile("any machine", deadline=None)  # a loaded machine makes no input wrong
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that begins last keeps the other workers waiting for its end."""
    items.sort(key=lambda item: "/e2e/" not in str(item.path))


__all__ = ["gcs_bucket", "gcs_emulator", "ministack_emulator", "moto_emulator", "s3_bucket", "s3_emulator"]
