"""What all tests share: the GCS emulator, no way to real credentials, and no proxy before the servers on loopback."""

import os

from .gcs_emulator.fixtures import gcs_bucket, gcs_emulator

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

__all__ = ["gcs_bucket", "gcs_emulator"]
