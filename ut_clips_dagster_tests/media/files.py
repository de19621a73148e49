"""Small real media files of every kind that the archive may meet."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import av
import numpy as np

FPS, SECONDS = 10, 2
WIDTH, HEIGHT = 192, 108
KINDS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    # name: container, encoder, its options, the container's
    "h264": ("mp4", "libx264", {"preset": "ultrafast", "threads": "1"}, {}),
    "fragmented": (
        "mp4",
        "libx264",
        {"preset": "ultrafast", "threads": "1"},
        {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ),
    "hevc": ("mp4", "libx265", {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}, {}),
    "av1": ("mp4", "libsvtav1", {"preset": "12", "svtav1-params": "lp=1"}, {}),
    "vp8": ("webm", "libvpx", {"deadline": "realtime", "cpu-used": "8"}, {}),
}


@lru_cache(maxsize=32)
def media(kind: str, *, audio: bool = True, size: tuple[int, int] = (WIDTH, HEIGHT), flat: bool = False) -> bytes:
    """A file of a kind: two seconds of a moving pattern (or one colour) and, if wished, a tone."""
    container_format, encoder, options, container_options = KINDS[kind]
    target = io.BytesIO()
    with av.open(target, "w", format=container_format, options=container_options) as container:
        video: Any = container.add_stream(encoder, rate=FPS, options=options)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = FPS
        sound: Any = container.add_stream("libopus" if kind == "vp8" else "aac", rate=48_000) if audio else None
        for number in range(FPS * SECONDS):
            picture = np.full((size[1], size[0], 3), 200, np.uint8)
            if not flat:
                picture[:, : size[0] // 2] = 10
                picture[size[1] // 3 :, (number * 8) % size[0] :] = (200, 30 + number, 90)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if sound is not None:
            _tone(container, sound)
    return target.getvalue()


def _tone(container: Any, stream: Any) -> None:
    layout = stream.layout.name
    channels = stream.layout.nb_channels
    for start in range(0, 48_000 * SECONDS, 960):
        wave = (0.2 * np.sin(np.arange(start, start + 960) / 20)).astype(np.float32)
        frame: Any = av.AudioFrame.from_ndarray(np.repeat(wave[None], channels, 0), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = 48_000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
