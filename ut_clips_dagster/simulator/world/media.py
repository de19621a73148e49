"""Media files: real, playable MP4s that are the same bytes for the same cut of a clip.

A file that has to be longer is filled up after the video with one `free` box (ISO/IEC 14496-12, 8.1.2), which players
skip: a gigabyte is made block by block as it is sent, and any part of it at once.
"""

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ut_clips_dagster.simulator.world.flaws import Flaw, flawed
from ut_clips_dagster.simulator.world.state import Render
from ut_clips_dagster.simulator.world.video import encode

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


@lru_cache(maxsize=256)
def media_file(render: Render, flaw: Flaw | None = None) -> MediaFile:
    """The file of one cut of a clip; with a flaw, one that is not what the API lists."""
    identity = f"{render.clip_uuid}/{render.cut}"
    video = encode(identity, render.length_s, has_audio=render.has_audio) if flaw is None else flawed(render, flaw)
    size = len(video) if render.size_bytes is None else render.size_bytes
    etag = hashlib.md5(f"{identity}/{size}/{flaw}".encode(), usedforsecurity=False).hexdigest()
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
