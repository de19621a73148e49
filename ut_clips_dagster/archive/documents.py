"""The versioned documents of a session: all state there is; the table and Dagster's events can be rebuilt from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ut_clips_dagster.clock import not_ahead
from ut_clips_dagster.results_api.decoding import INT64_MAX, INT64_MIN
from ut_clips_dagster.results_api.models import Clip, ClipLayout, Malformed, UtcDatetime, Uuid

Int64 = Annotated[int, Field(ge=INT64_MIN, le=INT64_MAX)]
"""What the table's columns hold; a document with more than that is damaged."""


@dataclass(frozen=True)
class RecordedFile:
    """A file as it was when it was stored: the measure of whether it is whole."""

    path: str
    size_bytes: int
    crc32c: str
    content_type: str | None = None


class Document(BaseModel):
    """Base of everything that is written to the archive as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def recorded(self) -> Iterator[RecordedFile]:
        """The files that it names."""
        return iter(())


class SessionDocument(Document):
    """`session.json`: what the session list said. Absent for a session whose key a person added."""

    version: Literal[1] = 1
    session_id: Uuid
    test_id: Uuid
    status: str
    started_at: UtcDatetime
    finished_at: UtcDatetime | None
    found_at: UtcDatetime


class Cut(Document):
    """What a clip shows: another cut of the same clip is another file."""

    time_start_ms: Int64
    time_end_ms: Int64
    layout: ClipLayout | None = None


class ListedClip(Document):
    """A clip of the session's listing, or of an earlier one (`listed` false: deleted upstream since)."""

    clip_uuid: Uuid
    name: str
    description: str | None
    cut: Cut
    video_uuid: Uuid
    has_audio: bool
    has_camera: bool
    listed: bool
    first_listed_at: UtcDatetime
    listed_at: UtcDatetime
    """When a listing last held it."""


class ClipListDocument(Document):
    """`clip_list.json`: the newest listing, and what earlier ones held."""

    version: Literal[1] = 1
    session_id: Uuid
    study_uuid: Uuid
    first_listed_at: UtcDatetime
    listed_at: UtcDatetime
    has_video: bool = True
    """False when the API answered 404 for a session that it listed itself: a product without video, or deleted."""
    clips: tuple[ListedClip, ...]
    malformed: tuple[Malformed, ...] = ()
    """Entries of the newest listing that could not be understood: as long as there are some, nothing is complete.

    One that an earlier listing held stays in `clips` as that one told it.
    """

    @property
    def listed(self) -> tuple[ListedClip, ...]:
        """The clips of the newest listing."""
        return tuple(clip for clip in self.clips if clip.listed)


class Generation(Document):
    """How a clip's generation went; the link itself is never kept."""

    clip_uuid: Uuid
    cut: Cut
    attempts: Int64
    """Requests of the clip until its link was issued, or until they were used up."""
    waited_s: float
    issued_at: UtcDatetime | None = None
    expires_at: UtcDatetime | None = None


class ClipUrlsDocument(Document):
    """`clip_urls.json`: the newest generation of each clip."""

    version: Literal[1] = 1
    session_id: Uuid
    clips: tuple[Generation, ...] = ()

    def of(self, clip: ListedClip) -> Generation | None:
        """The clip's generation, of its present cut."""
        return next((g for g in self.clips if g.clip_uuid == clip.clip_uuid and g.cut == clip.cut), None)


class StoredClip(Document):
    """A clip's file, verified when it was stored."""

    clip_uuid: Uuid
    cut: Cut
    storage_path: str
    size_bytes: Int64
    crc32c: str
    content_type: str
    downloaded_at: UtcDatetime


ClipState = Literal["GENERATING", "ERROR", "MISSING"]


class ClipProblem(Document):
    """Why a listed clip is not stored."""

    clip_uuid: Uuid
    status: ClipState
    error: str
    at: UtcDatetime


class ClipFilesDocument(Document):
    """`clip_files.json`: every file ever stored for the session, and why listed clips are not."""

    version: Literal[1] = 1
    session_id: Uuid
    files: tuple[StoredClip, ...] = ()
    problems: tuple[ClipProblem, ...] = ()

    def recorded(self) -> Iterator[RecordedFile]:
        """See `Document`."""
        for file in self.files:
            yield RecordedFile(file.storage_path, file.size_bytes, file.crc32c, file.content_type)

    def of(self, clip: ListedClip) -> StoredClip | None:
        """The file of the clip's present cut."""
        return next((f for f in self.files if f.clip_uuid == clip.clip_uuid and f.cut == clip.cut), None)

    def paths_of(self, clip_uuid: str) -> frozenset[str]:
        """Where all stored cuts of a clip are."""
        return frozenset(f.storage_path for f in self.files if f.clip_uuid == clip_uuid)

    def newest_of(self, clip_uuid: str) -> StoredClip | None:
        """The last file stored for a clip, of whatever cut."""
        return next((f for f in reversed(self.files) if f.clip_uuid == clip_uuid), None)

    def problem_of(self, clip_uuid: str) -> ClipProblem | None:
        """Why the clip is not stored, as far as known."""
        return next((p for p in self.problems if p.clip_uuid == clip_uuid), None)


class SessionRecord(Document):
    """All documents of one session, read together."""

    session_id: Uuid
    session: SessionDocument | None = None
    clip_list: ClipListDocument | None = None
    clip_urls: ClipUrlsDocument
    clip_files: ClipFilesDocument

    @classmethod
    def empty(cls, session_id: str) -> SessionRecord:
        """A session of which nothing is stored."""
        return cls(
            session_id=session_id,
            clip_urls=ClipUrlsDocument(session_id=session_id),
            clip_files=ClipFilesDocument(session_id=session_id),
        )

    @property
    def missing(self) -> tuple[ListedClip, ...]:
        """Listed clips whose present cut is not stored."""
        listed = self.clip_list.listed if self.clip_list else ()
        return tuple(clip for clip in listed if self.clip_files.of(clip) is None)

    def stored(self, clip: ListedClip) -> StoredClip | None:
        """The clip's file: of its present cut, or of its last one when it is no longer listed."""
        return self.clip_files.of(clip) or (None if clip.listed else self.clip_files.newest_of(clip.clip_uuid))

    @property
    def is_complete(self) -> bool:
        """A listing is there, all of it was understood, and every clip of it is stored."""
        return self.clip_list is not None and not self.clip_list.malformed and not self.missing


def same_clips(one: SessionRecord, other: SessionRecord) -> bool:
    """Whether two listings of a session hold the same clips, of the same names and cuts."""

    def clips(record: SessionRecord) -> tuple[ListedClip, ...]:
        found = record.clip_list.clips if record.clip_list else ()
        return tuple(clip.model_copy(update={"listed_at": clip.first_listed_at}) for clip in found)

    return clips(one) == clips(other)


def cut_of(clip: Clip) -> Cut:
    """The part of a listed clip that makes another file when it changes."""
    return Cut(time_start_ms=clip.time_start_ms, time_end_ms=clip.time_end_ms, layout=clip.layout)


def merge_listing(  # noqa: PLR0913 - a pure function of all it depends on
    before: ClipListDocument | None,
    session_id: str,
    study_uuid: str,
    clips: tuple[Clip, ...],
    at: datetime,
    *,
    malformed: tuple[Malformed, ...] = (),
    has_video: bool = True,
) -> ClipListDocument:
    """The new listing, plus what earlier ones held and this one does not, as `listed=False`. Pure.

    A clip whose entry is malformed now is not gone: it stays as it was told before.
    """
    earlier = {clip.clip_uuid: clip for clip in before.clips} if before else {}
    listed = {
        clip.uuid: ListedClip(
            clip_uuid=clip.uuid,
            name=clip.name,
            description=clip.description,
            cut=cut_of(clip),
            video_uuid=clip.video_uuid,
            has_audio=clip.has_audio,
            has_camera=clip.has_camera,
            listed=True,
            first_listed_at=not_ahead(earlier[clip.uuid].first_listed_at, at) if clip.uuid in earlier else at,
            listed_at=at,
        )
        for clip in clips
    }
    unclear = {entry.uuid for entry in malformed}
    others = tuple(
        clip.model_copy(update={"listed": key in unclear}) for key, clip in earlier.items() if key not in listed
    )
    return ClipListDocument(
        session_id=session_id,
        study_uuid=study_uuid,
        first_listed_at=not_ahead(before.first_listed_at, at) if before else at,
        listed_at=at,
        has_video=has_video,
        clips=(*listed.values(), *others),
        malformed=malformed,
    )
