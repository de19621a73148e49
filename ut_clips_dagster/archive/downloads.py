"""Fetch one clip by its link into the store, retried while the failure may pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import tenacity
from pydantic import SecretStr

from ut_clips_dagster.archive.documents import ListedClip, StoredClip
from ut_clips_dagster.archive.records import clip_path
from ut_clips_dagster.errors import MediaUnavailableError, RunEndedError, StorageConflictError
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.storage.store import ObjectInfo, Store

MAX_RETRIES = 4
MAX_VARIANTS = 9
"""Names tried for one clip: its own, its cut's beside it, and numbered ones should even that be taken."""


class Downloader:
    """Streams clips from the media host into the store; safe to call from several threads."""

    def __init__(self, media: MediaClient, store: Store, sleep: Callable[[float], None] = time.sleep) -> None:
        self._media = media
        self._store = store
        self._sleep = sleep
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        """End all downloads under way: their connections are closed, and nothing of them is stored."""
        self._abandoned.set()
        self._media.abandon()

    def store(
        self, study_uuid: str, session_id: str, clip: ListedClip, link: SecretStr, taken: frozenset[str]
    ) -> StoredClip:
        """Store a clip under the first name that is free or holds the same bytes already.

        Args:
            study_uuid: the test's ID, part of the path.
            session_id: the session's ID, part of the path.
            clip: which clip, and which cut of it.
            link: the signed link, used at once.
            taken: paths that hold other cuts of the clip.

        Raises:
            LinkExpiredError: ask the API for a new link.
            MediaError: the bytes cannot be had, or are no clip.
            StorageError: they cannot be stored.
            RunEndedError: all downloads were abandoned.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(MediaUnavailableError),
            stop=tenacity.stop_after_attempt(1 + MAX_RETRIES),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=8),
            sleep=self._sleep,
            reraise=True,
        )
        for variant in range(MAX_VARIANTS):
            path = clip_path(study_uuid, session_id, clip, variant)
            if path in taken:
                continue
            try:
                info, content_type = retrying(self._stream, path, link)
            except StorageConflictError:
                continue  # another cut has that name; nothing stored is overwritten
            return StoredClip(
                clip_uuid=clip.clip_uuid,
                cut=clip.cut,
                storage_path=info.path,
                size_bytes=info.size_bytes,
                crc32c=info.crc32c,
                content_type=content_type,
                downloaded_at=now_utc(),
            )
        raise StorageConflictError(f"All {MAX_VARIANTS} names of clip {clip.clip_uuid} are taken by other bytes.")

    def _stream(self, path: str, link: SecretStr) -> tuple[ObjectInfo, str]:
        self._go_on()
        with self._media.stream(link.get_secret_value()) as stream:
            return self._store.put_clip(path, self._wanted(stream.chunks), stream.content_type), stream.content_type

    def _wanted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._go_on()
            yield chunk

    def _go_on(self) -> None:
        if self._abandoned.is_set():
            raise RunEndedError("The run was ended; the download was abandoned.")
