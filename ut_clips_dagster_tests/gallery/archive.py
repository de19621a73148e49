"""An archive as the assets leave it, written by hand: clips, pictures and the three tables."""

from __future__ import annotations

import base64
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import google_crc32c
import numpy as np

from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable

STUDY = "5a1f0000-0000-4000-8000-000000000001"
OTHER_STUDY = "c0ffee00-0000-4000-8000-000000000002"
START = datetime(2026, 11, 2, 9, 0, tzinfo=timezone.utc)
WIDTH, HEIGHT, FPS, SECONDS = 480, 270, 5, 12


def identity(name: str) -> str:
    """The same name is the same UUID."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


@dataclass(frozen=True)
class Clip:
    """A clip to be; `cues` None: no transcript was made."""

    name: str | None
    description: str | None = None
    cues: Sequence[tuple[int, str]] | None = None
    voice: str | None = "Participant"
    start_ms: int = 60_000
    length_ms: int = SECONDS * 1000
    sound: bool = True
    status: str = "STORED"
    error: str | None = None
    listed: bool = True
    poster: bool = True
    content_type: str = "video/mp4"
    extra: dict[str, Any] = field(default_factory=dict)
    """Columns of clip_metadata as nothing of ours would write them."""

    @property
    def uuid(self) -> str:
        return identity(f"clip {self.name} {self.start_ms}")


@dataclass(frozen=True)
class Session:
    """A session to be, so many days after the first."""

    days: float
    clips: Sequence[Clip]
    study: str = STUDY

    @property
    def id(self) -> str:
        return identity(f"session {self.days} {self.study}")

    @property
    def started_at(self) -> datetime:
        return START + timedelta(days=self.days)


class Archive:
    """Writes sessions into a store, with their rows.

    Args:
        store: where.
        varied: each clip another film, as for screenshots.
        real: with clips that play, and pictures; else with other bytes, which are made faster.
    """

    def __init__(self, store: Store, *, real: bool = True, varied: bool = False) -> None:
        self.store = store
        self.real = real
        self.varied = varied
        self.metadata = MetadataTable(store.uri)
        self.media = MediaTable(store.uri)
        self.transcripts = TranscriptsTable(store.uri)

    def add(self, session: Session, *, media: bool = True, transcripts: bool = True) -> None:
        """Put the session in place of what the tables hold of it."""
        rows = [self._row(session, clip) for clip in session.clips]
        self.metadata.replace(session.id, as_rows(self.metadata.schema, rows))
        if media:
            looked_at = [self._media_row(session, clip) for clip in session.clips if clip.status == "STORED"]
            self.media.replace(session.id, as_rows(self.media.schema, looked_at))
        if transcripts:
            said = [_transcript(session, clip) for clip in session.clips if clip.cues is not None]
            self.transcripts.replace(session.id, as_rows(self.transcripts.schema, said))

    def path(self, session: Session, clip: Clip) -> str:
        return f"clips/{session.study}/{session.id}/{clip.uuid}.mp4"

    def content(self, clip: Clip) -> bytes:
        """The bytes of the clip's file."""
        return (
            video(clip.uuid if self.varied else STUDY) if self.real else f"{clip.uuid}{clip.start_ms}".encode() * 1000
        )

    def _row(self, session: Session, clip: Clip) -> dict[str, Any]:
        stored: dict[str, Any] = dict.fromkeys(("storage_path", "size_bytes", "crc32c", "content_type"))
        if clip.status == "STORED":
            content = self.content(clip)
            path = self.path(session, clip)
            self.store.put_clip(path, [content], clip.content_type)
            crc = base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
            stored = {
                "storage_path": path,
                "size_bytes": len(content),
                "crc32c": crc,
                "content_type": clip.content_type,
            }
        return {
            **dict.fromkeys(self.metadata.schema.names),
            "session_id": session.id,
            "study_uuid": session.study,
            "clip_uuid": clip.uuid,
            "clip_name": clip.name,
            "clip_description": clip.description,
            "time_start_ms": clip.start_ms,
            "time_end_ms": clip.start_ms + clip.length_ms,
            "has_audio": clip.sound,
            "has_camera": False,
            "status": clip.status,
            "error": clip.error,
            "listed": clip.listed,
            "first_listed_at": session.started_at,
            "listed_at": session.started_at,
            "session_started_at": session.started_at,
            "session_finished_at": session.started_at + timedelta(minutes=20),
            **stored,
            **clip.extra,
        }

    def _media_row(self, session: Session, clip: Clip) -> dict[str, Any]:
        path = self.path(session, clip)
        poster_path = None
        if clip.poster:
            poster_path = path.replace(".mp4", ".jpg")
            self.store.put_clip(poster_path, [picture(clip.uuid) if self.real else b"no picture"], "image/jpeg")
        return {
            **dict.fromkeys(self.media.schema.names),
            "session_id": session.id,
            "clip_uuid": clip.uuid,
            "storage_path": path,
            "duration_s": float(SECONDS),
            "width": WIDTH,
            "height": HEIGHT,
            "video_codec": "h264",
            "has_audio_track": clip.sound,
            "poster_path": poster_path,
        }


def _transcript(session: Session, clip: Clip) -> dict[str, Any]:
    said = clip.cues or ()
    ends = [at for at, _ in said[1:]] + [clip.length_ms]
    cues = [
        {"start_ms": at, "end_ms": end, "voice": clip.voice, "text": text}
        for (at, text), end in zip(said, ends, strict=True)
    ]
    text = "\n".join(text for _, text in said)
    words = len(text.split())
    return {"session_id": session.id, "clip_uuid": clip.uuid, "text": text, "cues": cues, "words": words}


@lru_cache
def video(seed: str) -> bytes:
    """Twelve seconds of H.264, which every browser plays; the index in front."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            options = {"preset": "ultrafast", "crf": "35", "g": "5"}
            stream = container.add_stream("libx264", rate=FPS, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for number in range(FPS * SECONDS):
                frame = av.VideoFrame.from_ndarray(_screen(seed, number / (FPS * SECONDS)), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


@lru_cache
def picture(seed: str) -> bytes:
    """A JPEG of the clip."""
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = WIDTH, HEIGHT, "yuvj420p", 1
    frame = av.VideoFrame.from_ndarray(_screen(seed, 0.4), format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def _screen(seed: str, part: float) -> np.ndarray:
    """Something like a web shop: a bar, cards, and a pointer that moves over them."""
    dice = np.random.default_rng(uuid.UUID(seed).int % 2**32)
    tint = dice.integers(60, 200, 3)
    image = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    image[:26] = tint
    image[34:64, 20:300] = tint // 2 + 120
    for row in range(2):
        for column in range(4):
            top, left = 78 + row * 96, 20 + column * 114
            image[top : top + 84, left : left + 100] = 225
            image[top : top + 54, left : left + 100] = tint // 3 + dice.integers(70, 150, 3)
            image[top + 62 : top + 68, left + 8 : left + 8 + int(dice.integers(30, 84))] = 140
    x, y = int(20 + part * (WIDTH - 60)), int(60 + abs(np.sin(part * 9)) * 170)
    image[y : y + 14, x : x + 14] = (220, 40, 60)
    return image
