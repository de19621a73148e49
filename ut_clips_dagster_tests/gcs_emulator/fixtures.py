"""Fixtures: name this module in `pytest_plugins`, or import from it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from .emulator import GcsEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def gcs_emulator() -> Iterator[GcsEmulator]:
    """One emulator for the whole session; it has checked that conditional creates are refused through both APIs."""
    with GcsEmulator() as emulator:
        yield emulator


@pytest.fixture
def gcs_bucket(gcs_emulator: GcsEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name a new bucket, with the environment pointing at the emulator; faults and log are empty before and after."""
    for name, value in gcs_emulator.environment.items():
        monkeypatch.setenv(name, value)
    for credentials in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"):
        monkeypatch.delenv(credentials, raising=False)
    bucket = gcs_emulator.create_bucket(f"test-{uuid.uuid4().hex[:12]}")
    gcs_emulator.faults.clear()
    gcs_emulator.requests.clear()
    yield bucket
    gcs_emulator.faults.clear()
    gcs_emulator.requests.clear()
