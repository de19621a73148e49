"""A body is a video or not by its own first bytes, however it comes and whatever it is called."""

from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ut_clips_dagster.errors import LinkExpiredError, MediaError, NotAClipError
from ut_clips_dagster.results_api import content
from ut_clips_dagster.results_api.content import HEAD_BYTES, is_video, only_video
from ut_clips_dagster.simulator.world.media import media_file
from ut_clips_dagster.simulator.world.state import Render

SECRET = "X-Amz-Signature=abcdef"


def box(kind: bytes, content: bytes = b"isom\0\0\2\0", size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


def branded(*brands: str) -> list[bytes]:
    """Files of these major brands, whose other brands are those of a video."""
    return [box(b"ftyp", brand.encode() + b"\0\0\2\0isommp42") + box(b"moov", bytes(900)) for brand in brands]


WEBM = bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d4287810442858102")
MATROSKA = bytes.fromhex("1a45dfa3a34286810142f7810142f2810442f381084282886d6174726f736b61")
VIDEOS = {
    "MP4": box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"moov", bytes(900)),
    "QuickTime": box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"wide", b"") + box(b"mdat", bytes(900)),
    "old QuickTime": box(b"wide", b"") + box(b"mdat", bytes(range(256)) * 4),
    "index first": box(b"moov", bytes(900)),
    "fragment": box(b"styp", b"msdh\0\0\0\0msdhmsix") + box(b"sidx", bytes(36)) + box(b"moof", bytes(80)),
    "free space first": box(b"free", bytes(20)) + box(b"ftyp") + box(b"moov"),
    "the smallest": box(b"mdat", b"\0"),
    "free space longer than what is looked at": box(b"free", bytes(900)) + box(b"mdat"),
    "more than 4 GiB of data first": struct.pack(">I4sQ", 1, b"mdat", 5 * 2**30) + bytes(500),
    "data to the end": box(b"mdat", bytes(500), size=0),
    **{
        brand: box(b"ftyp", brand.encode() + b"\0\0\0\0mif1heic") + box(b"moov", bytes(900))
        for brand in ("iso5", "iso6", "mp41", "mp42", "avc1", "hvc1", "hev1", "dash", "MSNV", "3gp5", "M4V ")
    },
    "WebM": WEBM + bytes(500),
    "Matroska": MATROSKA + bytes(500),
}
OTHERS = {
    "a page of text (JSON)": [b'{"error": 1}', b'\xef\xbb\xbf{"error": 1}', b" \n[1]", "\ufeff{}".encode("utf-16-le")],
    "a page of text (HTML)": [b"<!DOCTYPE html><html>", b"\xef\xbb\xbf\n<html>", "\ufeff<HTML>".encode("utf-16-be")],
    "a page of text (XML)": [b"<?xml version='1.0'?><Error/>", b"\xef\xbb\xbf<Error>", b"<svg/>"],
    "a page of text (a playlist)": [b"#EXTM3U\n#EXT-X-VERSION:3\n"],
    "a page of text": [b"not found", b"    free text, whose letters make a box", "Zögert".encode() * 100],
    "gzip-compressed data": [gzip.compress(VIDEOS["MP4"], mtime=0)],
    "data still in aws-chunked framing": [b"1000;chunk-signature=" + b"0" * 64 + b"\r\n" + VIDEOS["MP4"]],
    "a PNG picture": [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"],
    "a JPEG picture": [b"\xff\xd8\xff\xe0\0\x10JFIF"],
    "a HEIC picture": [*branded("heic", "heix", "heim", "hevc", "hevx"), box(b"free", b"") + branded("heic")[0]],
    "a HEIF picture": branded("mif1", "mif2", "msf1", "avci", "avcs"),
    "an AVIF picture": branded("avif", "avis"),
    "a JPEG 2000 or JPEG XL picture": branded("jp2 ", "jpx ", "jxl "),
    "a Canon raw picture": branded("crx "),
    "an M4A sound file": branded("M4A ", "M4B ", "M4P ", "F4A ", "F4B "),
    "an MP3 sound file": [b"ID3\x04\0\0\0\0", b"\xff\xfb\x90\x44" + bytes(100)],
    "a WAV sound file": [b"RIFF\x24\0\0\0WAVEfmt "],
    "an Ogg file": [b"OggS\0\2" + bytes(50)],
    "an AVI video, which is not allowed": [b"RIFF\x24\0\0\0AVI LIST"],
    "an MPEG transport stream, which is not allowed": [(b"\x47\x40" + b"\xff" * 186) * 3],
    "an FLV video, which is not allowed": [b"FLV\x01\5\0\0\0\t"],
    "a ZIP archive": [b"PK\x03\x04\x14\0"],
    "a PDF document": [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\0"],
    "data of an unknown kind": [
        bytes(600),
        b"\0",
        box(b"ftyp", bytes(9000)),  # no such long list of brands
        box(b"ftyp", size=4),
        box(b"mdat", size=7),
        *(box(kind, b"") for kind in (b"free", b"wide", b"mdat", b"moov")),  # all that came, and nothing in it
        box(b"ftyp") + box(b"free", bytes(80)) + box(b"mdat", b""),
        box(b"junk", bytes(900)),
        box(b"wide", b"") + box(b"junk", bytes(900)),
        b"\x1a\x45\xdf\xa3" + bytes(500),  # EBML of something else
        "<html>".encode("utf-16-le"),
    ],
}


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_a_video_passes_byte_for_byte_in_pieces_of_any_size(name: str, piece: int) -> None:
    whole = VIDEOS[name]
    pieces = [whole[at : at + piece] for at in range(0, len(whole), piece)]
    assert b"".join(only_video(pieces)) == whole


@pytest.mark.parametrize(("kind", "body"), [(kind, body) for kind, bodies in OTHERS.items() for body in bodies])
def test_what_is_no_video_is_refused_by_its_kind_before_a_byte_passes(kind: str, body: bytes) -> None:
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        passed = []
        with pytest.raises(NotAClipError) as caught:
            passed.extend(only_video(pieces))
        assert str(caught.value) == f"The media host sent {kind} instead of a video."
        assert passed == []


def test_the_simulators_clips_are_videos_whatever_their_size() -> None:
    for size in (None, 100_000, 700):
        render = Render("s", "c", "0-1", size) if size else Render("s", "c", "0-1", None)
        assert is_video(next(media_file(render).chunks(0, 512))[:HEAD_BYTES])


def test_a_text_that_says_that_the_link_has_expired_asks_for_a_new_one() -> None:
    text = f"\ufeff<Error><Code>ExpiredToken</Code><Resource>/c.mp4?{SECRET}</Resource></Error>".encode()
    with pytest.raises(LinkExpiredError) as caught:
        list(only_video([text]))
    assert "Signature" not in str(caught.value)


def kinds() -> set[str]:
    """All that a message may say of a body: words of ours."""
    return (
        {kind for _, kind in content._MARKS}
        | set(content._RIFF.values())
        | {kind for _, kind in content._NO_VIDEO_BRANDS}
    )


@given(st.binary(max_size=700), st.integers(1, 300))
def test_any_bytes_pass_whole_or_are_refused_without_being_quoted(body: bytes, piece: int) -> None:
    chunks = [body[at : at + piece] for at in range(0, len(body), piece)]
    try:
        passed: bytes | MediaError = b"".join(only_video(chunks))
    except MediaError as error:
        passed = error
    if isinstance(passed, bytes):
        assert passed == body
        assert is_video(body)
    else:
        said = str(passed).removeprefix("The media host sent ").removesuffix(" instead of a video.")
        assert said in OTHERS or said in kinds() or isinstance(passed, LinkExpiredError)


@given(st.text(min_size=1, max_size=600).filter(lambda text: text.isprintable()))
def test_no_text_is_ever_a_video(text: str) -> None:
    assert not is_video(text.encode())
    assert not is_video(b"\xef\xbb\xbf" + text.encode())
