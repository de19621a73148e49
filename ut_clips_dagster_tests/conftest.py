"""What all tests share: the GCS emulator, and no way to real credentials."""

from .gcs_emulator.fixtures import gcs_bucket, gcs_emulator

__all__ = ["gcs_bucket", "gcs_emulator"]
