"""A poster: one still picture of a video, as a small JPEG."""

from __future__ import annotations

from fractions import Fraction
from statistics import pstdev
from typing import Any

import av
from av.codec.context import Flags
from av.error import FFmpegError

SHARES = (0.10, 0.25, 0.50, 0.75)
"""Where in the video a picture is looked for."""
TELLING = 20.0
"""Standard deviation of grey values from which on a picture shows something; a blank page has less."""
GREY = (32, 18)
WIDTH, MAX_HEIGHT, MAX_BYTES = 320, 640, 20_000
QUALITIES = (4, 8, 14, 22, 31)
"""Quantizers, finest first; 31 is the coarsest that JPEG by this encoder has."""
SMALLER = (1.0, 0.75, 0.5)
MAX_PACKETS = 500
"""Packets looked through for a key frame after a seek."""


def make_poster(container: Any, stream: Any, duration_s: float) -> bytes | None:
    """The first telling picture, else the one with most contrast; None when none can be decoded."""
    best, most = None, -1.0
    for share in SHARES:
        frame = _key_frame(container, stream, share * duration_s)
        if frame is None:
            continue
        contrast = _contrast(frame)
        if contrast > most:
            best, most = frame, contrast
        if contrast >= TELLING:
            break
    return None if best is None else _jpeg(best)


def _key_frame(container: Any, stream: Any, at_s: float) -> Any:
    """The key frame at or before a moment, from its one packet; None when it cannot be had."""
    try:
        container.seek(int(at_s / stream.time_base) + (stream.start_time or 0), stream=stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.size and packet.is_keyframe:
                codec = stream.codec_context
                frames = [*codec.decode(packet), *codec.decode(None)]  # None: give out what it holds back
                return frames[0] if frames else None
            if number >= MAX_PACKETS:
                return None
    except (FFmpegError, ValueError, OverflowError):
        """Broken off or damaged at this place: another one may do."""
    return None


def _contrast(frame: Any) -> float:
    width, height = GREY
    plane = frame.reformat(width=width, height=height, format="gray", interpolation="AREA").planes[0]
    rows, stride = bytes(plane), plane.line_size
    return pstdev(b"".join(rows[row * stride : row * stride + width] for row in range(height)))


def _jpeg(frame: Any) -> bytes:
    """As fine as `MAX_BYTES` allow."""
    height = frame.height * WIDTH / frame.width
    scale = min(1.0, MAX_HEIGHT / height)
    jpeg = b""
    for smaller in SMALLER:
        size = (_even(WIDTH * scale * smaller), _even(height * scale * smaller))
        picture = frame.reformat(width=size[0], height=size[1], format="yuvj420p", interpolation="AREA")
        picture.pts = 0
        for quality in QUALITIES:
            jpeg = _encoded(picture, quality)
            if len(jpeg) <= MAX_BYTES:
                return jpeg
    return jpeg


def _encoded(picture: Any, quality: int) -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.flags |= Flags.bitexact  # the same picture gives the same bytes: no version of the encoder in them
    encoder.options = {"qmin": str(quality), "qmax": str(quality)}
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))


def _even(number: float) -> int:
    return max(2, round(number / 2) * 2)
