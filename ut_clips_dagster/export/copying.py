"""Clips' files, carried over from the archive and compared with the checksum of their rows on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from ut_clips_dagster.errors import NotAClipError, SettingsError, StorageError
from ut_clips_dagster.export.selection import Clip
from ut_clips_dagster.export.target import Target
from ut_clips_dagster.storage.links import REFUSED
from ut_clips_dagster.storage.store import CountedStream, Store, crc32c_of

THREADS, THREADS_OF_A_BUCKET = 2, 8
Progress = Callable[[int, int], None]
"""Told how many clips and bytes were done since it was told last."""
T = TypeVar("T")


class StoppedError(Exception):
    """The export was stopped while this file was carried over."""


class Carrier:
    """Reads the archive for an export, in some threads, until it is told to stop."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store = store
        self.progress = progress
        self._stopped = threading.Event()

    def carry(self, clip: Clip, file: BinaryIO) -> str | None:
        """Write a clip's bytes; what is wrong with them, if anything is: then they are no use."""
        stream = CountedStream(self._chunks(clip.path))
        try:
            for chunk in stream:
                file.write(chunk)
                self.progress(0, len(chunk))
        except NotAClipError:
            return "its file is empty"
        except StorageError:
            if self.store.size_bytes(clip.path) is not None:
                raise
            return "its file is not in the archive"
        return _difference(clip, stream.size_bytes, stream.crc32c)

    def check(self, clip: Clip) -> str | None:
        """What is wrong with a clip's bytes, if anything is."""
        size = self.store.size_bytes(clip.path)
        if size is None:
            return "its file is not in the archive"
        crc32c = crc32c_of(self._chunks(clip.path)) if size else ""
        self.progress(0, size)
        return _difference(clip, size, crc32c)

    def each(self, work: Callable[[T], None], things: Sequence[T]) -> None:
        """Do the work for all, some at a time; the first failure, or Ctrl+C, ends it within a chunk."""
        threads = THREADS_OF_A_BUCKET if "://" in self.store.uri else THREADS
        todo: Iterator[T] = iter(things)
        lock = threading.Lock()

        def work_on() -> None:
            while not self._stopped.is_set():
                with lock:
                    thing = next(todo, None)
                if thing is None:
                    return
                work(thing)

        with ThreadPoolExecutor(threads, thread_name_prefix="export") as pool, self._stopping():
            futures: list[Future[None]] = [pool.submit(work_on) for _ in range(threads)]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stopped.set()
            raise

    def _chunks(self, path: str) -> Iterator[bytes]:
        for chunk in self.store.read(path):
            if self._stopped.is_set():
                raise StoppedError
            yield chunk


class Copier:
    """Puts clips and their posters into a target as files, by copying or by hard links."""

    def __init__(self, carrier: Carrier, target: Target, *, link: bool) -> None:
        self._carrier = carrier
        self._target = target
        self._link = link
        self.problems: dict[Clip, str] = {}
        self.without_poster: set[Clip] = set()
        self.copied: set[Clip] = set()

    def copy(self, clips: Sequence[Clip]) -> None:
        """Carry over what the target does not hold."""
        self._target.claim([path for clip in clips for path in (clip.path, clip.poster_path) if path])
        self._carrier.each(self._copy_one, clips)

    def _copy_one(self, clip: Clip) -> None:
        if self._target.holds(clip.path, clip.crc32c):
            self._carrier.progress(0, clip.size_bytes)
        else:
            problem = self._link_clip(clip) if self._link else self._copy_clip(clip)
            if problem:
                self.problems[clip] = problem
                return
            self.copied.add(clip)
        self._copy_poster(clip)
        self._carrier.progress(1, 0)

    def _copy_clip(self, clip: Clip) -> str | None:
        part = self._target.part()
        with part.open("xb") as file:
            problem = self._carrier.carry(clip, file)
        if problem:
            part.unlink()
        else:
            self._target.place(part, clip.path, clip.crc32c)
        return problem

    def _link_clip(self, clip: Clip) -> str | None:
        problem = self._carrier.check(clip)
        if not problem:
            place = self._target.directory_of(clip.path)
            place.unlink(missing_ok=True)
            try:
                os.link(Path(self._carrier.store.uri, clip.path), place)
            except OSError as error:
                if error.errno not in REFUSED:
                    raise
                raise SettingsError(
                    f"{self._target.root} cannot hold hard links to the archive ({error.strerror}): leave --link out."
                ) from None
            self._target.note_whole(clip.path, clip.crc32c)
        return problem

    def _copy_poster(self, clip: Clip) -> None:
        if clip.poster_path is None or self._target.holds(clip.poster_path, ""):
            return
        try:
            picture = b"".join(self._carrier.store.read(clip.poster_path))
        except StorageError:
            picture = b""
        if picture:
            self._target.write(clip.poster_path, picture)
        else:
            self.without_poster.add(clip)  # it is made from the clip, and may be made again


def _difference(clip: Clip, size_bytes: int, crc32c: str) -> str | None:
    if (size_bytes, crc32c) == (clip.size_bytes, clip.crc32c):
        return None
    recorded = f"{clip.size_bytes:,} bytes with crc32c {clip.crc32c} were recorded"
    return f"its file is damaged: it has {size_bytes:,} bytes with crc32c {crc32c}, and {recorded}"


def total_bytes(clips: Iterable[Clip]) -> int:
    """Of all of them."""
    return sum(clip.size_bytes for clip in clips)
