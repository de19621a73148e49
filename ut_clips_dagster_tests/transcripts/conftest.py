"""An archive with one session and two stored clips, a simulator that has its transcript, and a client of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ut_clips_dagster.archive.documents import Cut, SessionDocument, SessionRecord, StoredClip, merge_listing
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.rows import clip_metadata
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.models import Clip
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster.transcripts.cutter import Cutting, cut_session
from ut_clips_dagster.transcripts.fetch import Fetched, fetch_transcript
from ut_clips_dagster.transcripts.shelf import TranscriptShelf

FINISHED_AT = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
SOON = FINISHED_AT + timedelta(minutes=10)
BODY = b"""\xef\xbb\xbfWEBVTT

00:00:00.000 --> 00:00:02.000
<v Ann>one

00:00:02.000 --> 00:00:05.500
two &amp; a half

00:00:05.500 --> 00:00:09.000
three
"""


@dataclass
class Lab:
    """Everything of one session."""

    simulator: SimulatorServer
    api: ResultsApi
    root: Path
    session_id: str

    @property
    def store(self) -> Store:
        return LocalStore(self.root)

    @property
    def shelf(self) -> TranscriptShelf:
        return TranscriptShelf(self.store)

    @property
    def metadata(self) -> MetadataTable:
        return MetadataTable(self.store.uri)

    @property
    def record(self) -> SessionRecord:
        return SessionRecords(self.store).read(self.session_id)

    def requests(self) -> int:
        return self.simulator.requests.count("get_transcript")

    def fetch(self, now: datetime = SOON) -> Fetched:
        return fetch_transcript(self.api, self.shelf, self.record, now)

    def cut(self) -> Cutting:
        return cut_session(self.shelf, self.record)

    def store_clip(self, clip_uuid: str, start: int, end: int, name: str | None = None, *, store: bool = True) -> None:
        """A clip is listed, beside those that were before, and its file is stored."""
        records = SessionRecords(self.store)
        before = self.record.clip_list
        others = [c for c in (before.listed if before else ()) if c.clip_uuid != clip_uuid]
        clips = [_listed(c.clip_uuid, c.cut.time_start_ms, c.cut.time_end_ms) for c in others]
        listing = (*clips, _listed(clip_uuid, start, end))
        records.write_listing(self.session_id, lambda b: merge_listing(b, self.session_id, DEMO_TEST_ID, listing, SOON))
        path = f"clips/{DEMO_TEST_ID}/{self.session_id}/{name or clip_uuid}.mp4"
        if store:
            info = self.store.put_clip(path, [b"video"], "video/mp4")
            stored = StoredClip(
                clip_uuid=clip_uuid, cut=Cut(time_start_ms=start, time_end_ms=end), storage_path=path,
                size_bytes=5, crc32c=info.crc32c, content_type="video/mp4", downloaded_at=SOON,
            )  # fmt: skip
            records.add_file(self.session_id, stored)
        self.metadata.replace(self.session_id, clip_metadata(self.record))

    def files(self) -> dict[str, bytes]:
        """Everything below the archive but tables, clips and locks."""
        paths = [*(self.root / "sessions").rglob("*.*"), *(self.root / "clips").rglob("*.vtt")]
        return {p.relative_to(self.root).as_posix(): p.read_bytes() for p in paths if p.is_file() and p.name != ".lock"}


def _listed(clip_uuid: str, start: int, end: int) -> Clip:
    return Clip(
        uuid=clip_uuid, name=f"clip {clip_uuid[-1]}", time_start_ms=start, time_end_ms=end, video_uuid=DEMO_TEST_ID,
        has_audio=True, has_camera=False,
    )  # fmt: skip


A, B = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Clip A from 2 s to 9 s, clip B from 0 s to 2 s, both stored; nothing is known of the transcript."""
    config = SimulatorConfig(sessions=1, clips_total=0, rate_limit=10_000)
    with SimulatorServer(config) as simulator:
        session_id = simulator.world.sessions()[0].session_id
        simulator.world.set_transcript(session_id, BODY)
        api = ResultsApi(simulator.url, simulator.token_url, "demo", "demo", sleep=lambda _: None)
        lab = Lab(simulator, api, tmp_path / "archive", session_id)
        SessionRecords(lab.store).write_session(
            SessionDocument(
                session_id=session_id, test_id=DEMO_TEST_ID, status="COMPLETE", found_at=SOON,
                started_at=FINISHED_AT - timedelta(hours=1), finished_at=FINISHED_AT,
            )
        )  # fmt: skip
        lab.store_clip(A, 2000, 9000)
        lab.store_clip(B, 0, 2000)
        yield lab
        api.close()
