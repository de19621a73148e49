"""One archiving process without Dagster: it starts in no time, and dies where it is told to.

The pipeline, stores and documents are the real ones. Boundaries are seen from outside: the interpreter's audit events
(open, link, rename, remove) below the archive, and wrappers around the calls of store and table.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pandas as pd
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from pydantic import BaseModel

from ut_clips_dagster.archive.documents import SessionDocument
from ut_clips_dagster.archive.downloads import Downloader
from ut_clips_dagster.archive.pipeline import ArchivePipeline
from ut_clips_dagster.archive.poller import ClipPoller
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.archive.session_work import Steps
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.media.session_media import MediaMaker
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import TEMPORARY, LocalStore
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.s3 import S3Store
from ut_clips_dagster.storage.store import ObjectInfo, Store

DIED, FINISHED, UNFINISHED = 9, 0, 2
WATCHED = ("open", "os.link", "os.rename", "os.remove")


class Job(BaseModel):
    """What a worker is to do."""

    archive: str
    api_url: str
    test_id: str
    sessions: list[str] | None = None
    """None: all that the session list holds."""
    events: str
    """File to which a line is added for each finished session: it stands for Dagster's event."""
    trace: str | None = None
    """File to which the name of each boundary is added as it is reached: `what#1` the first time, `what#2` ..."""
    die_at: str | None = None
    """Name of the boundary to die at."""
    processes: int = 1
    """So many do the same, at the same time; the first ends with the worst of their exit codes."""
    media: bool = False
    """Look at each session's clips when it is finished, too."""
    max_file_bytes: int | None = None
    """The disk takes no longer file than this: what comes after is refused, as by a full disk."""


class Boundaries:
    """Counts write boundaries in all threads; at the chosen one the process ends without any clean-up."""

    def __init__(self, die_at: str | None, trace: str | None) -> None:
        self._die_at = die_at
        self._trace = None if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def __call__(self, what: str) -> None:
        """A boundary is reached."""
        with self._lock:
            self._counts[what] += 1
            name = f"{what}#{self._counts[what]}"
            if self._trace is not None:
                os.write(self._trace, f"{name}\n".encode())
            if name == self._die_at:
                os._exit(DIED)

    def watch(self, archive: str) -> None:
        """Every temporary file, link, rename and removal in the archive's directory is a boundary before it."""
        temporary = f"{Path(archive).absolute()}{os.sep}{TEMPORARY}{os.sep}"

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event not in WATCHED or not str(args[0]).startswith(temporary) or not str(args[0]).endswith(".part"):
                return
            if (event != "open" or args[1] == "x") and (event != "os.remove" or Path(args[0]).exists()):
                self(f"before {event} of a temporary file")

        sys.addaudithook(hook)


class DyingStore:
    """A store whose calls are boundaries."""

    def __init__(self, store: Store, reach: Boundaries) -> None:
        self._store = store
        self._reach = reach

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_clip(self, path: str, chunks: Iterable[bytes], content_type: str) -> ObjectInfo:
        def passed() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk
                self._reach("some bytes of a clip")

        what = "a clip" if path.endswith(".mp4") else "a poster"
        self._reach(f"before {what}")
        info = self._store.put_clip(path, passed(), content_type)
        self._reach("clip stored" if path.endswith(".mp4") else "poster stored")
        return info

    def update_document(self, path: str, update: Callable[[bytes | None], bytes]) -> bytes:
        name = path.rpartition("/")[2]
        self._reach(f"before {name}")
        written = self._store.update_document(path, update)
        self._reach(f"{name} written")
        return written


class DyingTable(MetadataTable):
    """A table whose commits are boundaries."""

    def __init__(self, uri: str, reach: Boundaries) -> None:
        super().__init__(uri)
        self._reach = reach

    def replace(self, session_id: str, rows: pd.DataFrame) -> None:
        self._reach("before the table's commit")
        super().replace(session_id, rows)
        self._reach("table committed")


class DyingMediaTable(MediaTable):
    """The same of the other table."""

    def __init__(self, uri: str, reach: Boundaries) -> None:
        super().__init__(uri)
        self._reach = reach

    def replace(self, session_id: str, rows: pd.DataFrame) -> None:
        self._reach("before the media table's commit")
        super().replace(session_id, rows)
        self._reach("media table committed")


def run(job: Job) -> int:
    """Archive, and say how it went by the process's exit code."""
    if job.processes > 1:
        return _run_all(job)
    if job.max_file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.max_file_bytes, job.max_file_bytes))
    reach = Boundaries(job.die_at, job.trace)
    plain = open_store(job.archive)
    if "://" not in job.archive:
        reach.watch(job.archive)
    store: Any = DyingStore(plain, reach)
    records = SessionRecords(store)
    api = ResultsApi(job.api_url, f"{job.api_url}/oauth2/token", "demo", "demo")
    media = MediaClient(allow_loopback=True, max_bytes=10**9)
    poller = ClipPoller(api, PollingPolicy(0.05, 200))
    store.check_writable()
    sessions = _find_sessions(api, records, job.test_id, job.sessions)
    pipeline = ArchivePipeline(poller, Downloader(media, store), records, DyingTable(plain.uri, reach))
    unfinished = False
    prober = Prober()
    for result in pipeline.run(sessions, Steps()):
        if result.error:
            unfinished = True
            print(result.error, file=sys.stderr)  # noqa: T201 - a worker's only voice
            continue
        reach("before the event")
        with Path(job.events).open("a") as events:
            events.write(f"{result.session_id}\n")
        reach("event logged")
        if job.media:
            MediaMaker(store, DyingMediaTable(plain.uri, reach), prober).make(result.record)
            reach("media made")
    prober.close()
    return UNFINISHED if unfinished else FINISHED


def _run_all(job: Job) -> int:
    pids = []
    for _ in range(job.processes):
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = run(job.model_copy(update={"processes": 1}))
            except BaseException:  # noqa: BLE001 - the child must not go on as a second parent
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        pids.append(pid)
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)


def open_store(archive: str) -> Store:
    """The store at a directory, or at a gs:// or s3:// address of an emulator."""
    if archive.startswith("s3://"):
        return S3Store.at(boto3.session.Session().client("s3"), archive)
    if not archive.startswith("gs://"):
        return LocalStore(Path(archive))
    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    parts = urlsplit(archive)
    return GcsStore(Client("emulator", credentials), parts.netloc, parts.path)


def _find_sessions(api: ResultsApi, records: SessionRecords, test_id: str, only: list[str] | None) -> list[str]:
    sessions = []
    for found in api.list_sessions(test_id).sessions:
        if only is not None and found.session_id not in only:
            continue
        sessions.append(found.session_id)
        if records.session(found.session_id) is None:
            records.write_session(
                SessionDocument(
                    session_id=found.session_id,
                    test_id=test_id,
                    status=found.status,
                    started_at=found.start_time,
                    finished_at=found.finish_time,
                    found_at=now_utc(),
                )
            )
    return sessions
