"""A gallery that runs, over an archive in a directory or in a bucket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.storage.conftest import gcs_store, s3_store, store

from .archive import Archive

__all__ = ["gcs_store", "s3_store", "store"]
TOKEN = "a-token-of-the-tests-that-nobody-guesses"
TIMEOUT_S = 30.0


@contextmanager
def running(store: Store, cache: Path, *, allowed_hosts: tuple[str, ...] = ()) -> Iterator[GalleryServer]:
    """A gallery whose index is there."""
    with GalleryServer(store, cache, token=TOKEN, look_every_s=0.05, allowed_hosts=allowed_hosts) as gallery:
        deadline = time.monotonic() + TIMEOUT_S
        while gallery.keeper.state.building:
            assert time.monotonic() < deadline, gallery.keeper.state
            time.sleep(0.01)
        yield gallery


@contextmanager
def client(gallery: GalleryServer) -> Iterator[httpx.Client]:
    """Somebody who may look."""
    with httpx.Client(base_url=gallery.url, timeout=TIMEOUT_S) as visitor:
        assert visitor.get(f"/?token={gallery.token}").status_code == 303
        yield visitor


@pytest.fixture
def archive(store: Store) -> Archive:
    """An empty archive, of clips that are quickly made."""
    return Archive(store, real=False)
