"""What all tests share: the GCS emulator, no way to real credentials, and no proxy before the servers on loopback."""

import os

from hypothesis import settings

from .gcs_emulator.fixtures import gcs_bucket, gcs_emulator

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

settings.register_profile("any machine", deadline=None)  # a loaded machine makes no input wrong
settings.load_profile("any machine")

__all__ = ["gcs_bucket", "gcs_emulator"]
