"""Media files: short, real, playable MP4s that are the same bytes for the same cut of a clip.

A file that has to be longer is filled up after the video with one `free` box (ISO/IEC 14496-12, 8.1.2), which players
skip: a gigabyte is made block by block as it is sent, and any part of it at once.
"""

import hashlib
import random
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from ut_clips_dagster.simulator.world.state import Render

WIDTH, HEIGHT, FPS, SECONDS = 160, 90, 10, 2
_BLOCK = 64 * 1024
_CHUNK_BLOCKS = 4


@dataclass(frozen=True)
class MediaFile:
    """The bytes of a file: `video`, then filling up to `size` bytes."""

    video: bytes
    size: int
    etag: str

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `stop`, in chunks of at most 256 KiB."""
        if start < len(self.video):
            yield self.video[start : min(stop, len(self.video), self.size)]
        head = _box_head(self.size - len(self.video))
        position = max(start, len(self.video))
        while position < stop:
            # Offsets of the filling count from the end of the video; blocks carry their number, so that no two are
            # equal and a chunk lost or swapped on the way changes the checksum.
            offset = position - len(self.video)
            first, skip = divmod(offset, _BLOCK)
            chunk = b"".join(_block(self.etag, number, head) for number in range(first, first + _CHUNK_BLOCKS))[skip:]
            yield chunk[: stop - position]
            position += len(chunk)

    def read(self) -> bytes:
        """The whole file; for a small one."""
        return b"".join(self.chunks(0, self.size))

    def sha256(self) -> str:
        """SHA-256 of the whole file, hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()


@lru_cache(maxsize=512)
def media_file(render: Render) -> MediaFile:
    """The file of one cut of a clip."""
    identity = f"{render.clip_uuid}/{render.cut}"
    video = _video(identity)
    size = len(video) if render.size_bytes is None else render.size_bytes
    etag = hashlib.md5(f"{identity}/{size}".encode(), usedforsecurity=False).hexdigest()
    # A box has at least a head of eight bytes; a file too short for the video, or for a box after it, is cut off.
    whole = size == len(video) or size >= len(video) + 8
    return MediaFile(video if whole else (video + b"\0" * 8)[:size], size, etag)


def _box_head(filling: int) -> bytes:
    """The head of a `free` box of so many bytes; above 4 GiB a 0 says "to the end of the file"."""
    return struct.pack(">I4s", filling if filling < 2**32 else 0, b"free")


def _block(seed: str, number: int, head: bytes) -> bytes:
    body = struct.pack(">Q", number) + _pattern(seed)
    return head + body[: _BLOCK - len(head)] if number == 0 else body


@lru_cache(maxsize=16)
def _pattern(seed: str) -> bytes:
    return random.Random(seed).randbytes(_BLOCK - 8)  # noqa: S311  # filling, no secret


def _video(identity: str) -> bytes:
    """Two seconds of a bar that moves over a ground whose colours come from `identity`; H.264 where there is x264."""
    digest = hashlib.sha256(identity.encode()).digest()
    ground, bar = (np.frombuffer(digest[at : at + 3], np.uint8) for at in (0, 3))
    codec, options = _codec()
    # The muxer opens its output a second time to put the index in front (faststart): that takes a file with a name.
    with tempfile.TemporaryDirectory(prefix="ut-clips-simulator-") as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream(codec, rate=FPS, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
            for number in range(FPS * SECONDS):
                picture[:] = ground // 2
                left = (digest[6] + number * 8) % (WIDTH - 16)
                picture[digest[7] % 40 :, left : left + 16] = 127 + bar // 2
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()


@lru_cache(maxsize=1)
def _codec() -> tuple[str, dict[str, str]]:
    # One thread, so that the bytes do not depend on the machine's cores.
    if "libx264" in av.codecs_available:
        return "libx264", {"preset": "ultrafast", "crf": "30", "threads": "1"}
    return "mpeg4", {"threads": "1"}
