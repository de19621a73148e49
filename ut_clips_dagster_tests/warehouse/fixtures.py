"""Fixtures: import them from here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from google.cloud import bigquery

from ut_clips_dagster_tests.warehouse.emulator import PROJECT, running_emulator, service_account

every_test = pytest.mark.long
"""One test of BigQuery is enough for each commit."""
with_installation = pytest.mark.timeout(900)
"""Of the environment, on a loaded machine."""


@pytest.fixture(scope="session")
def bigquery_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """One emulator for the whole session: its address, and a file with credentials."""
    with running_emulator() as url, service_account(tmp_path_factory.mktemp("credentials")) as path:
        yield url, str(path)


@pytest.fixture
def bigquery_environment(bigquery_url: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment points at the emulator."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url[0])
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", bigquery_url[1])
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def client(bigquery_environment: None) -> Iterator[bigquery.Client]:  # noqa: ARG001 - the environment
    with bigquery.Client(project=PROJECT) as client:
        yield client


@pytest.fixture
def dataset_name(client: bigquery.Client) -> str:
    """A new dataset."""
    name = f"{PROJECT}.clips_{uuid.uuid4().hex[:8]}"
    client.create_dataset(name)
    return name
