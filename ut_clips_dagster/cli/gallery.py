"""`ut-clips gallery`: serve the archive to people, until interrupted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import expanded, store_of
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.gallery.guard import token_of
from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.settings import load_settings


def serve_gallery(
    *, host: str, port: int, allowed_hosts: Sequence[str], token_file: Path | None, cache: Path | None
) -> None:
    """Serve until SIGTERM; Ctrl+C raises KeyboardInterrupt once all is closed.

    Raises:
        ClipsError: a setting is wrong, the port is taken, or the index cannot be kept.
    """
    if not host.strip():
        raise SettingsError("--host is blank: 0.0.0.0 lets other machines in.")  # as the socket would take it
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    store = store_of(load_settings(api=False).archive)
    token = token_of(expanded("--token-file", token_file)) if token_file else None
    place = expanded("--cache", cache) if cache else cache_directory()
    with GalleryServer(store, place, host=host, port=port, token=token, allowed_hosts=allowed_hosts) as gallery:
        console.print(f"Gallery of {store.uri}: open", markup=False, highlight=False, soft_wrap=True)
        console.print(f"  {gallery.address}", markup=False, highlight=False, soft_wrap=True)
        console.print("Whoever has this address can watch every clip. Ctrl+C ends it.")
        ended.wait()


def cache_directory() -> Path:
    """Where a person's programs keep what they can make again."""
    return expanded("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ut-clips" / "gallery"
