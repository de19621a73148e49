"""A small archive without Dagster or an API: clips are put into it by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ut_clips_dagster.archive.documents import ClipListDocument, Cut, ListedClip, SessionRecord, StoredClip
from ut_clips_dagster.archive.records import SessionRecords, clip_path
from ut_clips_dagster.archive.rows import clip_metadata
from ut_clips_dagster.archive.side_documents import SideDocuments
from ut_clips_dagster.media.documents import CLIP_MEDIA, ClipMediaDocument
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.media.session_media import MediaMaker, SessionMedia
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable

STUDY = "00000000-0000-4000-8000-00000000000a"
SESSION = "00000000-0000-4000-8000-00000000000b"
AT = datetime(2026, 11, 1, tzinfo=timezone.utc)


class CountingStore(LocalStore):
    """Counts ranges read, and may fail, or die, before or after a write: `hook` is told of each."""

    def __init__(self, root: Path, hook: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(root)
        self.hook = hook
        self.ranges: list[str] = []

    def read_range(self, path: str, start: int, length: int) -> bytes:
        self.ranges.append(path)
        return super().read_range(path, start, length)

    def put_clip(self, path: str, *rest: Any) -> Any:
        self.hook(f"before {Path(path).suffix}")
        info = super().put_clip(path, *rest)
        self.hook(f"{Path(path).suffix} stored")
        return info

    def update_document(self, path: str, update: Any) -> bytes:
        self.hook(f"before {Path(path).name}")
        written = super().update_document(path, update)
        self.hook(f"{Path(path).name} written")
        return written


class HookedTable(MediaTable):
    """A table whose commits are told."""

    hook: Callable[[str], None] = staticmethod(lambda _: None)

    def replace(self, session_id: str, rows: Any) -> None:
        self.hook("before the table's commit")
        super().replace(session_id, rows)
        self.hook("table committed")


@dataclass
class MediaBench:
    """One session, and what looks at its clips."""

    root: Path
    store: CountingStore = field(init=False)
    table: HookedTable = field(init=False)
    prober: Prober = field(default_factory=Prober)

    def __post_init__(self) -> None:
        self.store = CountingStore(self.root)
        self.table = HookedTable(str(self.root))

    @property
    def records(self) -> SessionRecords:
        return SessionRecords(LocalStore(self.root))

    @property
    def record(self) -> SessionRecord:
        return self.records.read(SESSION)

    @property
    def document(self) -> ClipMediaDocument | None:
        return SideDocuments(self.store, CLIP_MEDIA, ClipMediaDocument).read(SESSION)

    def add(self, number: int, data: bytes, cut: Cut | None = None, *, has_audio: bool = True) -> str:
        """A stored clip (of a new cut, when it is there already); returns its file's path."""
        uuid = f"00000000-0000-4000-8000-{number:012d}"
        clip = ListedClip(
            clip_uuid=uuid,
            name=f"clip {number}",
            description=None,
            cut=cut or Cut(time_start_ms=0, time_end_ms=2_000),
            video_uuid=STUDY,
            has_audio=has_audio,
            has_camera=False,
            listed=True,
            first_listed_at=AT,
            listed_at=AT,
        )
        known = self.record
        others = [c for c in (known.clip_list.clips if known.clip_list else ()) if c.clip_uuid != uuid]
        listing = ClipListDocument(
            session_id=SESSION, study_uuid=STUDY, first_listed_at=AT, listed_at=AT, clips=(*others, clip)
        )
        self.records.write_listing(SESSION, lambda _: listing)
        file = known.clip_files.of(clip)
        if file is None:
            path = clip_path(STUDY, SESSION, clip, int(bool(known.clip_files.paths_of(uuid))))
            info = LocalStore(self.root).put_clip(path, [data], "video/mp4")
            file = StoredClip(
                clip_uuid=uuid,
                cut=clip.cut,
                storage_path=path,
                size_bytes=info.size_bytes,
                crc32c=info.crc32c,
                content_type="video/mp4",
                downloaded_at=AT,
            )
            self.records.add_file(SESSION, file)
        MetadataTable(str(self.root)).replace(SESSION, clip_metadata(self.record))
        return file.storage_path

    def make(self) -> SessionMedia:
        return MediaMaker(self.store, self.table, self.prober).make(self.record)

    def rows(self) -> dict[str, Any]:
        """The table's rows by the file they are about."""
        return {row["storage_path"]: row for row in self.table.read([SESSION]).to_dict("records")}
