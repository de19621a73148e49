"""Encodes a clip: as long as its time range, with a tone where it has sound.

One round of pictures is encoded, then its packets are repeated: a minute of video costs what five seconds do.
"""

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from ut_clips_dagster.simulator.world.pictures import FRAMES, HEIGHT, WIDTH, pictures

FPS = 2
RATE, SAMPLES = 16_000, 1024
TONE_HZ = 440.0
_TONE_PACKETS = 8
_STEADY = 4
"""This packet of the tone is repeated: before it the encoder swings in."""


def encode(
    identity: str,
    length_s: float,
    *,
    has_video: bool = True,
    has_audio: bool = True,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> bytes:
    """An MP4 with its index in front; the same arguments give the same bytes."""
    # The muxer opens its output a second time to put the index in front (faststart): that takes a file with a name.
    with tempfile.TemporaryDirectory(prefix="ut-clips-simulator-") as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            video = _add_video(container, size) if has_video else None
            audio = _add_audio(container) if has_audio else None  # all streams are added before one is encoded
            packets = [
                *(_video(video, identity, length_s) if video else ()),
                *(_audio(audio, length_s) if audio else ()),
            ]
            for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
                container.mux(packet)
        return path.read_bytes()


def _add_video(container: Any, size: tuple[int, int]) -> Any:
    codec, options = _codec()
    stream = container.add_stream(codec, rate=FPS, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.gop_size = FRAMES
    return stream


def _add_audio(container: Any) -> Any:
    stream = container.add_stream("aac", rate=RATE, layout="mono")
    stream.bit_rate = 16_000
    return stream


def _video(stream: Any, identity: str, length_s: float) -> Iterator[Any]:
    wanted = max(1, round(length_s * FPS))
    round_of_packets = [
        packet
        for picture in islice(pictures(identity), wanted)
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
    ] + list(stream.encode(None))
    for number in range(wanted):
        packet = round_of_packets[number % FRAMES]
        yield _repeated(packet, number, Fraction(1, FPS), stream)


def _audio(stream: Any, length_s: float) -> Iterator[Any]:
    packets = []
    for number in range(_TONE_PACKETS):
        times = np.arange(number * SAMPLES, (number + 1) * SAMPLES) / RATE
        frame: Any = av.AudioFrame.from_ndarray(
            (0.2 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = RATE, number * SAMPLES
        packets += stream.encode(frame)
    for number in range(max(1, int(length_s * RATE / SAMPLES))):
        yield _repeated(packets[min(number, _STEADY)], number, Fraction(SAMPLES, RATE), stream)


def _repeated(packet: Any, number: int, spacing: Fraction, stream: Any) -> Any:
    copy: Any = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.is_keyframe = stream, spacing, packet.is_keyframe
    copy.pts = copy.dts = number
    copy.duration = 1
    return copy


@lru_cache(maxsize=1)
def _codec() -> tuple[str, dict[str, str]]:
    # One thread, so that the bytes do not depend on the machine's cores.
    if "libx264" in av.codecs_available:
        return "libx264", {"preset": "ultrafast", "crf": "30", "threads": "1"}
    return "mpeg4", {"threads": "1"}
