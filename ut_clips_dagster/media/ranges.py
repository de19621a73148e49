"""A file that is read by ranges, wherever its bytes are."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable

ReadRange = Callable[[int, int], bytes]
"""(start, length) -> those bytes; fewer only at the end."""
BLOCK_BYTES = 128 * 1024
KEPT_BLOCKS = 16


class RangeFile(io.RawIOBase):
    """Reads whole blocks, the newest of which are kept: FFmpeg reads in small pieces, and to and fro."""

    def __init__(self, size_bytes: int, read_range: ReadRange) -> None:
        super().__init__()
        self._size = size_bytes
        self._read_range = read_range
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes, of one block."""
        number, skip = divmod(self._position, BLOCK_BYTES)
        left = self._size - self._position
        if left <= 0:
            return b""
        data = self._block(number)[skip : skip + (left if size < 0 else min(size, left))]
        self._position += len(data)
        return data

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start = number * BLOCK_BYTES
        block = self._read_range(start, min(BLOCK_BYTES, self._size - start))
        self._blocks[number] = block
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block
