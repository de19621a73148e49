"""Two sessions in one batch, archived by the real pipeline from the simulator, with everything that can go wrong."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO
from unittest import mock

import botocore.endpoint
import httpx
import urllib3
from google.cloud.storage.retry import DEFAULT_RETRY

from ut_clips_dagster.archive.documents import SessionDocument
from ut_clips_dagster.archive.downloads import Downloader
from ut_clips_dagster.archive.pipeline import ArchivePipeline
from ut_clips_dagster.archive.poller import ClipPoller
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.archive.session_work import SessionResult, Steps
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.results_api.pacing import Pacer
from ut_clips_dagster.simulator import Clip, Session, SimulatorConfig, SimulatorServer, media_file
from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.s3 import S3Store
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .row import CLIPS_OF_A, GcsFault, Route, Special
from .virtual_time import VirtualTime

SECRET = "the-secret-of-the-lab"
MAX_CLIP_BYTES = 1024 * 1024
PATIENT_S = 15.0
"""Read timeout where nothing stalls: a busy machine is no fault."""
IMPATIENT_S = 1.0
"""Read timeout where something stalls."""
GCS_RETRY = DEFAULT_RETRY.with_delay(initial=0.02, maximum=0.05).with_timeout(0.6)
UNRESOLVABLE = "nobody.invalid"


class StrayTransport(httpx.BaseTransport):
    """Sends requests about one session elsewhere, over real sockets and a real resolver."""

    def __init__(self, session_id: str, route: Route | None) -> None:
        self._inner = httpx.HTTPTransport(verify=False)
        self._session_id = session_id
        self._route = route
        self._left = float("inf") if route is None or route.count is None else route.count

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        route = self._route
        if route is not None and route.what != "token" and self._session_id in request.url.path and self._left > 0:
            if route.what == "media":
                # the simulator makes its links of the host that it was reached by
                request.headers["Host"] = astray(route.to)
            else:
                self._left -= 1
                host, _, port = astray(route.to).partition(":")
                request.url = request.url.copy_with(host=host, port=int(port or 80))
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def astray(to: str) -> str:
    """Where nobody answers: host:port."""
    if to == "refused":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return f"127.0.0.1:{listener.getsockname()[1]}"
    return "192.0.2.7" if to == "plain_http" else UNRESOLVABLE


class _FullFile:
    """A file on a disk that has no room for more than a few bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDiskStore(LocalStore):
    """A directory whose disk is full when clips of one session come."""

    def __init__(self, root: Path, session_id: str) -> None:
        super().__init__(root)
        self._session_id = session_id
        self._here = threading.local()

    def put_clip(self, path: str, chunks: Any, content_type: str) -> Any:
        self._here.full = self._session_id in path
        try:
            return super().put_clip(path, chunks, content_type)
        finally:
            self._here.full = False

    @contextmanager
    def _temporary_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        with super()._temporary_file() as (path, file):
            full: Any = _FullFile(file)
            yield path, full if getattr(self._here, "full", False) else file


class Bench:
    """A simulator with sessions A (two clips) and B (one), an archive, and a pipeline between them.

    Use it in a `with` block.
    """

    def __init__(
        self,
        root: Path,
        *,
        gcs: GcsEmulator | S3Emulator | None = None,
        bucket: str = "",
        route: Route | None = None,
        special: Special | None = None,
        stalling: bool = False,
    ) -> None:
        self._read_timeout_s = IMPATIENT_S if stalling else PATIENT_S
        self.time = VirtualTime()
        self._root = root
        self._gcs = gcs
        self._bucket = bucket
        self._special = special
        self._stack = ExitStack()
        config = SimulatorConfig(sessions=0, generation_s=2, client_secret=SECRET)  # type: ignore[arg-type]
        self.server = SimulatorServer(config, now=self.time.wall)
        world = self.server.world
        self.a = world.add_session(clips=0, has_video=special != "no_video")
        self.b = world.add_session(clips=1)
        for _ in range(CLIPS_OF_A):
            world.add_clip(self.a.session_id)
        self.a1: Clip = world.clips(self.a.session_id)[0]
        self._expected = {
            clip.clip_uuid: media_file(world.render(clip)).read()
            for session in (self.a, self.b)
            for clip in world.clips(session.session_id)
        }
        self._transport = StrayTransport(self.a.session_id, route)
        self._route = route

    def __enter__(self) -> Bench:  # noqa: PYI034 - typing.Self came with Python 3.11
        self._stack.enter_context(mock.patch.dict(os.environ, self._environment()))
        self.server.start()
        self._stack.callback(_stop_aside, self.server)
        token_url = self.server.token_url
        if self._route is not None and self._route.what == "token":
            token_url = f"http://{astray(self._route.to)}/oauth2/token"
        secret = "wrong" if self._special == "wrong_secret" else SECRET
        self.api = ResultsApi(
            self.server.url,
            token_url,
            "demo",
            secret,
            pacer=Pacer(self.time.clock, self.time.sleep),
            transport=self._transport,
            sleep=self.time.sleep,
            timeout=httpx.Timeout(self._read_timeout_s, connect=5),
        )
        self._stack.callback(self.api.close)
        self.store = self._make_store()
        self.records = SessionRecords(self.store)
        self.table = MetadataTable(self.store.uri)
        self._prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_faults(self, faults: Sequence[str], gcs: Sequence[GcsFault] = ()) -> None:
        """Switch faults on; `{a}` is session A, `{a1}` its first clip, `{b}` session B."""
        for text in faults:
            self.server.faults.add(self._named(text))
        for fault in gcs:
            assert self._gcs is not None
            self._gcs.faults.add(
                fault.kind, count=fault.count, on=fault.on, api=fault.api, contains=self._named(fault.contains)
            )

    def run(self) -> dict[str, SessionResult]:
        """Archive both sessions, as `ArchiveResource.pipeline` would; the last result of each.

        Raises:
            StorageError: the archive cannot be written; nothing was requested.
        """
        self.store.check_writable()
        poller = ClipPoller(self.api, PollingPolicy(), self.time.clock, sleep=self.time.sleep)
        media = MediaClient(
            allow_loopback=True,
            max_bytes=MAX_CLIP_BYTES,
            allowed_hosts=(UNRESOLVABLE,),
            timeout=urllib3.Timeout(connect=5, read=self._read_timeout_s),
        )
        downloader = Downloader(media, self.store, self.time.sleep)
        pipeline = ArchivePipeline(poller, downloader, self.records, self.table, clock=self.time.clock)
        sessions = [self.a.session_id, self.b.session_id]
        return {result.session_id: result for result in pipeline.run(sessions, Steps())}

    @property
    def requests(self) -> int:
        """That the client sent to the API, those included that arrived nowhere."""
        return self.api.pacer.requests_sent

    def listed(self, session: Session) -> list[str]:
        """UUIDs of a session's clips, as the world has them now."""
        return [clip.clip_uuid for clip in self.server.world.clips(session.session_id)]

    def expected_bytes(self, clip_uuid: str) -> bytes:
        """A clip's file."""
        return self._expected[clip_uuid]

    def path_of(self, clip: Clip) -> str:
        """The first name of a clip's file."""
        return f"clips/{self.a.test_id}/{clip.session_id}/{clip.clip_uuid}.mp4"

    def _named(self, text: str) -> str:
        return (
            text.replace("{a1}", self.a1.clip_uuid).replace("{a}", self.a.session_id).replace("{b}", self.b.session_id)
        )

    def _environment(self) -> dict[str, str]:
        return {} if self._gcs is None else self._gcs.environment

    def _make_store(self) -> Store:
        if isinstance(self._gcs, S3Emulator):
            never = SimpleNamespace(sleep=lambda _: None)
            self._stack.enter_context(mock.patch.object(botocore.endpoint, "time", never))
            return S3Store(self._gcs.client(), self._bucket, "archive")
        if self._gcs is not None:
            return GcsStore(self._gcs.storage_client(), self._bucket, "archive", retry=GCS_RETRY)
        if self._special == "no_hard_links":
            refused = OSError(errno.EPERM, os.strerror(errno.EPERM))
            self._stack.enter_context(mock.patch.object(os, "link", side_effect=refused))
        if self._special == "disk_full_for_a":
            return FullDiskStore(self._root, self.a.session_id)
        return LocalStore(self._root)

    def _prepare(self) -> None:
        if self._special in ("root_is_a_file", "missing_bucket"):
            if self._special == "root_is_a_file":
                self._root.write_bytes(b"not a directory")
            return
        for session in (self.a, self.b):
            if self._special == "hand_added" and session is self.a:
                continue
            self.records.write_session(
                SessionDocument(
                    session_id=session.session_id,
                    test_id=session.test_id,
                    status=session.status,
                    started_at=session.started_at,
                    finished_at=session.finished_at,
                    found_at=now_utc(),
                )
            )
        prepare: dict[str, Callable[[], object]] = {
            "same_bytes_there": lambda: self.store.put_clip(
                self.path_of(self.a1), [self.expected_bytes(self.a1.clip_uuid)], "video/mp4"
            ),
            "other_bytes_there": lambda: self.store.put_clip(self.path_of(self.a1), [b"other bytes"], "video/mp4"),
            "damaged_document": lambda: self.store.update_document(
                f"sessions/{self.a.session_id}/clip_list.json", lambda _: b'{"version": 1, "clips"'
            ),
        }
        if self._special in prepare:
            prepare[self._special]()


def _stop_aside(server: SimulatorServer) -> None:
    """Uvicorn looks up every tenth of a second only: nobody needs to wait for it."""
    threading.Thread(target=server.stop, name="stop-simulator").start()
