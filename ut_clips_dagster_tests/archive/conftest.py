"""The archive to damage, filled once for all tests that damage it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .damaged_archive import DamagedArchive, archive_to_damage


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DamagedArchive]:
    with archive_to_damage(tmp_path_factory.mktemp("damaged")) as archive:
        yield archive


@pytest.fixture(scope="module")
def made(filled: DamagedArchive) -> Iterator[DamagedArchive]:
    with filled.settings():
        yield filled


@pytest.fixture
def bench(made: DamagedArchive) -> DamagedArchive:
    made.put_back()
    return made
