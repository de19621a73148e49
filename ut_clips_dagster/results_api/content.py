"""What a body is, told by its own first bytes: the header only says what somebody thought it was.

A clip is a file of the MP4 family (ISO base media: MP4, fragmented MP4, and QuickTime, which is the same structure and
what iPhones record) or of the Matroska family (WebM). Nothing else is stored: MPEG transport streams, AVI, FLV and Ogg
are videos too, but the API hands out `.mp4`, no browser plays them under that name, and the first of them is known by a
single byte. Pictures (HEIC, AVIF) and sound (M4A) in the MP4 family's boxes say so themselves.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import dropwhile

from ut_clips_dagster.errors import LinkExpiredError, NotAClipError

HEAD_BYTES = 512
"""So many are waited for before anything is decided or passed on."""

_BOX_HEAD = 8
_FIRST_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_BOXES_OF_NO_MEANING = frozenset({b"wide", b"free", b"skip"})
_LARGEST_FTYP = 4096
_LARGE_SIZE, _TO_THE_END = 1, 0
_BOXES_THAT_HOLD_IT = frozenset({b"moov", b"moof", b"mdat"})
_NO_VIDEO_BRANDS = (
    (re.compile(rb"hei[cxms]|hev[cmsx]"), "a HEIC picture"),
    (re.compile(rb"mif[12]|miaf|msf1|avc[is]|jpeg|jpgs"), "a HEIF picture"),
    (re.compile(rb"avi[fso]"), "an AVIF picture"),
    (re.compile(rb"jp[2xmh] |jxl "), "a JPEG 2000 or JPEG XL picture"),
    (re.compile(rb"crx "), "a Canon raw picture"),
    (re.compile(rb"[MF]4[AB] |M4P "), "an M4A sound file"),
)
"""By the major brand, which names what a file is best used as: a picture whose other brands are of videos (a burst, a
raw picture with its previews) is one, and a video that names brands of pictures among its others is a video."""
_EBML = b"\x1a\x45\xdf\xa3"
_EBML_TYPE = re.compile(rb"\x42\x82.{1,8}?(?:webm|matroska)", re.DOTALL)
_MARKS = (
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"ID3", "an MP3 sound file"),
    (b"\xff\xfb", "an MP3 sound file"),
    (b"\xff\xf3", "an MP3 sound file"),
    (b"OggS", "an Ogg file"),
    (b"fLaC", "a FLAC sound file"),
    (b"FLV\x01", "an FLV video, which is not allowed"),
)
_RIFF = {b"AVI ": "an AVI video, which is not allowed", b"WAVE": "a WAV sound file", b"WEBP": "a WebP picture"}
_TRANSPORT_PACKET = 188
_AWS_CHUNK = re.compile(rb"[0-9a-f]{1,16};chunk-signature=", re.IGNORECASE)
_EXPIRED = re.compile(rb"expired", re.IGNORECASE)
"""ExpiredToken, "Request has expired", ExpiredRequest, expired_auth_token: S3, GCS, R2, OSS, B2, CDNs agree so far."""
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def only_video(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as they come, once the first bytes are those of a video.

    Raises:
        LinkExpiredError: a text came instead that says that the link has expired.
        NotAClipError: something else came instead; the message says what, and quotes none of it.
    """
    head, decided = b"", False
    for chunk in chunks:
        if decided:
            yield chunk
            continue
        head += chunk
        if len(head) >= HEAD_BYTES:
            _require_video(head)
            yield head
            decided = True
    if not decided:
        _require_video(head)
        yield head


def says_expired(head: bytes) -> bool:
    """Whether an error's first bytes say that a link has expired."""
    return bool(_EXPIRED.search(head))


def is_video(head: bytes) -> bool:
    """Whether a body that begins like this is a video of a kind that is stored."""
    if _as_text(head) is not None:
        return False  # whatever its letters would mean as a size and a type
    return _no_video_brand(head) is None and (_is_iso_media(head) or _is_matroska(head))


def kind_of(head: bytes) -> str:
    """In words, what a body that is no video seems to be."""
    if _AWS_CHUNK.match(head):
        return "data still in aws-chunked framing"
    text = _as_text(head)
    if text is not None:
        return _kind_of_text(text)
    told = _no_video_brand(head) or (_RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None)
    if told is None and head[: _TRANSPORT_PACKET + 1 : _TRANSPORT_PACKET] == b"GG":
        told = "an MPEG transport stream, which is not allowed"
    return told or next((kind for mark, kind in _MARKS if head.startswith(mark)), "data of an unknown kind")


def _require_video(head: bytes) -> None:
    if is_video(head):
        return
    if _as_text(head) is not None and says_expired(head):
        raise LinkExpiredError("The media host sent a text instead of the clip: the link has expired.")
    raise NotAClipError(f"The media host sent {kind_of(head)} instead of a video.")


def _is_iso_media(head: bytes) -> bool:
    """The first box has to be known, and so the next after one of no meaning.

    A body that ends before so much was there as is waited for is whole: in it, a box has to hold something, too.
    """
    is_whole, is_known = len(head) < HEAD_BYTES, False
    for kind, begin, end in _boxes(head):
        if not is_known and kind not in _FIRST_BOXES:
            return False
        is_known = is_known or kind not in _BOXES_OF_NO_MEANING
        if is_known and (not is_whole or (kind in _BOXES_THAT_HOLD_IT and begin < min(end, len(head)))):
            return True
    return not is_whole


def _boxes(head: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box whose head is here, and where its content begins and ends; one of no sense is of no kind."""
    at = 0
    while at + _BOX_HEAD <= len(head):
        size, kind, begin = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + _BOX_HEAD], at + _BOX_HEAD
        if size == _LARGE_SIZE:
            size, begin = int.from_bytes(head[begin : begin + _BOX_HEAD], "big"), begin + _BOX_HEAD
        elif size == _TO_THE_END and kind != b"ftyp":
            size = sys.maxsize
        if at + size < begin or (kind == b"ftyp" and size > _LARGEST_FTYP):
            yield b"", begin, begin
            return
        yield kind, begin, at + size
        at += size


def _is_matroska(head: bytes) -> bool:
    return head.startswith(_EBML) and bool(_EBML_TYPE.search(head))


def _no_video_brand(head: bytes) -> str | None:
    boxes = dropwhile(lambda box: box[0] in _BOXES_OF_NO_MEANING, _boxes(head))
    kind, begin, _ = next(boxes, (b"", 0, 0))
    brand = head[begin : begin + 4] if kind == b"ftyp" else b""
    return next((told for brands, told in _NO_VIDEO_BRANDS if brands.fullmatch(brand)), None)


def _as_text(head: bytes) -> str | None:
    """The head as text, if that is what it is: in UTF-8, or behind a byte order mark."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if len(head) - error.start >= 4:  # noqa: PLR2004 - more than a character that the head's end cut off
            return None
        text = head[: error.start].decode(encoding)
    text = text.lstrip("\ufeff")
    return text if all(letter.isprintable() or letter.isspace() for letter in text) else None


def _kind_of_text(text: str) -> str:
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "a page of text (HTML)"
    if start.startswith("<"):
        return "a page of text (XML)"
    if start.startswith(("{", "[")):
        return "a page of text (JSON)"
    if start.startswith("#extm3u"):
        return "a page of text (a playlist)"
    return "a page of text"
