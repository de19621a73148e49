"""Looks at a media file: facts and a poster. Runs in the worker process, as FFmpeg may crash on a hostile file."""

from __future__ import annotations

from dataclasses import replace
from io import RawIOBase
from typing import Any, BinaryIO

import av
from av.error import FFmpegError

from ut_clips_dagster.media.facts import Facts, Looked
from ut_clips_dagster.media.poster import make_poster

MAX_WIDTH, MAX_HEIGHT = 7680, 4320
OPTIONS = {
    # of formats only those that hold their own bytes: a playlist would make FFmpeg open what it names
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg",
    "protocol_whitelist": "none",
    "max_pixels": str(MAX_WIDTH * MAX_HEIGHT),
}
TAIL_PACKETS = 20_000


def look(file: BinaryIO | RawIOBase) -> Looked:
    """Facts and poster of a file that can be read and sought; what is wrong with it is a fact."""
    try:
        with av.open(file, options=OPTIONS, metadata_errors="replace") as container:
            return _look(container)
    except (FFmpegError, ValueError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Looked(Facts(failure=f"does not open ({reason})"))
    except MemoryError:
        return Looked(Facts(failure="needs more memory to be read than is allowed"))


def _look(container: Any) -> Looked:
    audio = next(iter(container.streams.audio), None)
    video = next(iter(container.streams.video), None)
    facts = Facts(
        duration_s=_duration_s(container), has_audio_track=audio is not None, audio_codec=audio and _codec_of(audio)
    )
    if video is None:
        return Looked(replace(facts, failure="holds no video"))
    context = video.codec_context
    if context is None:
        return Looked(replace(facts, failure="holds a video of a kind that cannot be decoded"))
    rate = video.average_rate or video.guessed_rate
    facts = replace(
        facts,
        width=context.width or None,
        height=context.height or None,
        frame_rate=round(float(rate), 3) if rate else None,
        video_codec=_codec_of(video),
    )
    if not context.width or not context.height:
        return Looked(replace(facts, failure="holds a video without a picture"))
    if context.width > MAX_WIDTH or context.height > MAX_HEIGHT:
        size, most = f"{context.width} x {context.height}", f"{MAX_WIDTH} x {MAX_HEIGHT}"
        return Looked(replace(facts, failure=f"declares a picture of {size}, above {most}: it was not decoded"))
    context.thread_count = 1
    context.thread_type = "NONE"
    if facts.duration_s is None:
        facts = replace(facts, duration_s=_end_s(container, video))
    poster = make_poster(container, video, facts.duration_s or 0.0)
    if facts.duration_s is None:
        facts = replace(facts, failure="does not say how long it is")
    if poster is None:
        facts = replace(facts, failure="holds no picture that can be decoded")
    return Looked(facts, poster)


def _codec_of(stream: Any) -> str | None:
    context = stream.codec_context
    return None if context is None else str(context.codec.canonical_name)


def _duration_s(container: Any) -> float | None:
    """The container's length."""
    return round(container.duration / av.time_base, 3) if container.duration and container.duration > 0 else None


def _end_s(container: Any, stream: Any) -> float | None:
    """Where the last picture ends, of a file that does not say: a live stream's fragments, for instance."""
    end = 0.0
    try:
        container.seek(0, stream=stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * stream.time_base))
            if number >= TAIL_PACKETS:
                return None
    except (FFmpegError, ValueError, OverflowError):
        return None
    return round(end, 3) or None
