"""What a clip shows: a page of a shop, drawn from the clip's identity, over which a pointer moves."""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 360
FRAMES = 10
"""After so many pictures they begin anew."""

Picture = NDArray[np.uint8]


def pictures(identity: str) -> Iterator[Picture]:
    """The pictures of one round, as RGB; another identity makes other colours and another page."""
    digest = hashlib.sha256(identity.encode()).digest()
    page = _page(digest)
    for number in range(FRAMES):
        picture = page.copy()
        left = (digest[6] * 2 + number * 56) % (WIDTH - 40)
        top = 60 + (digest[7] + number * 23) % (HEIGHT - 120)
        picture[top : top + 28, left : left + 28] = 20
        picture[top + 6 : top + 22, left + 6 : left + 22] = (250, 210, 40)
        yield picture


def _page(digest: bytes) -> Picture:
    dark, bright = _colour(digest, 0) // 2, 127 + _colour(digest, 3) // 2
    page = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    page[:48] = dark
    page[14:34, 16:144] = bright
    for card in range(6):
        row, column = divmod(card, 3)
        top, left = 66 + row * 148, 20 + column * 208
        height, width = 76 + digest[8 + card] % 50, 184
        page[top : top + height, left : left + width] = _colour(digest, 14 + card * 3)
        for line in range(1 + digest[card] % 2):
            below = top + height + 4 + line * 10
            page[below : below + 5, left : left + 90 + digest[line + card] % 94] = 120
    return page


def _colour(digest: bytes, at: int) -> Picture:
    return np.frombuffer(digest, np.uint8)[np.arange(at, at + 3) % len(digest)]
