"""Fixtures: import from here."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from .emulator import S3Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def moto_emulator() -> Iterator[S3Emulator]:
    """moto, one for the whole session."""
    with S3Emulator("moto") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def ministack_emulator() -> Iterator[S3Emulator]:
    """ministack, one for the whole session."""
    with S3Emulator("ministack") as emulator:
        yield emulator


@pytest.fixture
def s3_emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Emulator]:
    """moto, or the one that a test names by an indirect parameter; the environment points at it.

    Faults and log are empty before and after.
    """
    place = request.node.callspec.params.get("store") if hasattr(request.node, "callspec") else None
    kind = getattr(request, "param", place if place == "ministack" else "moto")
    emulator: S3Emulator = request.getfixturevalue(f"{kind}_emulator")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    emulator.faults.clear()
    emulator.requests.clear()
    yield emulator
    emulator.faults.clear()
    emulator.requests.clear()


@pytest.fixture
def s3_bucket(s3_emulator: S3Emulator) -> str:
    """Name a new bucket."""
    bucket = s3_emulator.create_bucket(f"test-{uuid.uuid4().hex[:12]}")
    s3_emulator.requests.clear()
    return bucket
