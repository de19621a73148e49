"""A session's pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

CELL_WIDTH, CELL_HEIGHT, GAP = 320, 180, 8
COLUMNS = 4
MAX_PICTURES = 24
GROUND = 24


def contact_sheet(pictures: Sequence[bytes]) -> bytes | None:
    """A JPEG of these JPEGs, row by row, each whole within its cell; None when none of them can be read."""
    cells = [cell for picture in pictures[:MAX_PICTURES] if (cell := _cell(picture)) is not None]
    if not cells:
        return None
    columns = min(COLUMNS, len(cells))
    rows = math.ceil(len(cells) / columns)
    sheet = np.full((rows * (CELL_HEIGHT + GAP) + GAP, columns * (CELL_WIDTH + GAP) + GAP, 3), GROUND, dtype=np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        top = GAP + row * (CELL_HEIGHT + GAP) + (CELL_HEIGHT - cell.shape[0]) // 2
        left = GAP + column * (CELL_WIDTH + GAP) + (CELL_WIDTH - cell.shape[1]) // 2
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return _jpeg(sheet)


def _cell(picture: bytes) -> np.ndarray | None:
    try:  # the one decoder, and none that is chosen by what the bytes look like
        frames = av.CodecContext.create("mjpeg", "r").decode(av.Packet(picture))
    except (av.FFmpegError, ValueError):
        return None
    if not frames:
        return None
    frame = frames[0]
    scale = min(CELL_WIDTH / frame.width, CELL_HEIGHT / frame.height)
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    return frame.reformat(width=width, height=height, format="rgb24").to_ndarray()


def _jpeg(pixels: np.ndarray) -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = pixels.shape[:2]
    codec.pix_fmt = "yuvj420p"
    codec.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
