"""Clips' files: real MP4s behind signed links, served as S3 serves them."""

import hashlib
import io
import uuid
from collections.abc import Callable
from typing import Any

import av
import httpx
import pytest

from ut_clips_dagster.simulator import Render, media_file
from ut_clips_dagster.simulator.world.flaws import Flaw


def render(cut: str = "0-10000", size: int | None = None, clip: int = 7) -> Render:
    return Render(str(uuid.UUID(int=1)), str(uuid.UUID(int=clip)), cut, size)


def test_a_file_plays_and_has_its_index_in_front() -> None:
    data = media_file(render()).read()
    assert data[4:8] == b"ftyp"
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (640, 360)
        assert sum(1 for _ in container.decode(stream)) == 20


@pytest.mark.parametrize(("cut", "seconds"), [("0-8000", 8), ("61500-91500", 30), ("5000-65000-screen-a-b", 60)])
@pytest.mark.parametrize("has_audio", [True, False])
def test_a_file_is_as_long_and_has_the_sound_that_is_listed(cut: str, seconds: int, has_audio: bool) -> None:
    data = media_file(Render(str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), cut, None, has_audio)).read()
    assert len(data) < 300_000
    with av.open(io.BytesIO(data)) as container:
        assert container.duration == seconds * av.time_base
        assert bool(container.streams.audio) == has_audio
        for stream in container.streams:
            assert sum(1 for _ in container.decode(stream)) > seconds
            container.seek(0)


@pytest.mark.parametrize("flaw", Flaw)
def test_a_fault_of_the_file_itself_arrives_whole(bench: Callable[..., Any], flaw: Flaw) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    lab.server.faults.add(f"{flaw.value}:count=1")
    answer, again = lab.plain.get(lab.link(clip)), lab.plain.get(lab.link(clip))
    assert len(answer.content) == int(answer.headers["content-length"])
    assert answer.content != again.content == media_file(lab.server.world.render(clip)).read()


def test_the_same_cut_is_the_same_bytes_and_another_is_not() -> None:
    media_file.cache_clear()
    first = media_file(render()).read()
    media_file.cache_clear()
    assert media_file(render()).read() == first
    assert media_file(render(cut="0-11000")).read() != first
    assert media_file(render(clip=8)).read() != first


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 70_000, 300_000, 1_000_001])
def test_a_file_has_the_size_asked_for_and_parts_fit_the_whole(size: int) -> None:
    file = media_file(render(size=size))
    whole = file.read()
    assert len(whole) == size
    for start, stop in [(0, size), (size // 3, size // 2), (size - size // 7, size)]:
        assert b"".join(file.chunks(start, stop)) == whole[start:stop]


def test_a_big_file_still_plays() -> None:
    with av.open(io.BytesIO(media_file(render(size=1_000_000)).read())) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20


def test_a_gigabyte_is_read_from_anywhere_at_once() -> None:
    file = media_file(render(size=2**30))
    blocks = [b"".join(file.chunks(start, start + 65536)) for start in (2**29, 2**29 + 65536, 2**30 - 65536)]
    assert len(set(blocks)) == 3


def test_download_has_length_type_and_bytes(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    answer = lab.plain.get(lab.link(clip))
    expected = media_file(lab.server.world.render(clip)).read()
    assert answer.status_code == 200
    assert answer.content == expected
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-99", 0, 100), ("bytes=100-", 100, 5000), ("bytes=-10", 4990, 5000), ("bytes=4999-9999", 4999, 5000)],
)
def test_ranges(bench: Callable[..., Any], asked: str, start: int, stop: int) -> None:
    lab = bench()
    _, clip = lab.session_with_clip(media_size_bytes=5000)
    answer = lab.plain.get(lab.link(clip), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/5000"
    assert answer.content == media_file(lab.server.world.render(clip)).read()[start:stop]


def test_ranges_that_cannot_be_served(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip(media_size_bytes=5000)
    link = lab.link(clip)
    beyond = lab.plain.get(link, headers={"Range": "bytes=5000-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */5000")
    assert lab.plain.get(link, headers={"Range": "bytes=9-1"}).status_code == 200
    assert lab.plain.get(link, headers={"Range": "lines=1-2"}).status_code == 200
    assert lab.plain.get(link, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status_code == 200
    etag = lab.plain.get(link).headers["etag"]
    assert lab.plain.get(link, headers={"Range": "bytes=0-1", "If-Range": etag}).status_code == 206


def test_links_expire_after_a_quarter_of_an_hour(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    link = lab.link(clip)
    assert httpx.URL(link).params["X-Amz-Expires"] == "900"
    lab.time.advance(898)
    assert lab.plain.get(link).status_code == 200
    lab.time.advance(3)
    expired = lab.plain.get(link, headers={"Range": "bytes=100-"})
    assert expired.status_code == 403
    assert expired.headers["content-type"].startswith("application/xml")
    assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in expired.text
    assert lab.plain.get(lab.get_clip(clip).json()["clipUrl"]).status_code == 200


def test_links_cannot_be_forged(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    link = lab.link(clip)
    for forged in (link.replace("Expires=900", "Expires=9000"), link[:-1] + "g", link.partition("?")[0]):
        assert "SignatureDoesNotMatch" in lab.plain.get(forged).text


def test_a_download_under_way_completes_after_its_link_has_expired(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip(media_size_bytes=30_000_000)
    with lab.plain.stream("GET", lab.link(clip)) as answer:
        chunks = answer.iter_bytes()
        digest = hashlib.sha256(next(chunks))
        lab.time.advance(10_000)
        for chunk in chunks:
            digest.update(chunk)
    assert digest.hexdigest() == media_file(lab.server.world.render(clip)).sha256()


def test_a_recut_clip_has_other_bytes_and_is_generated_again(bench: Callable[..., Any]) -> None:
    lab = bench(generation_s=8)
    session, clip = lab.session_with_clip()
    old_link = lab.link(clip)
    old = lab.plain.get(old_link).content
    recut = lab.server.world.recut_clip(session.session_id, clip.clip_uuid, 1000, 9000)
    assert lab.get_clip(recut).json()["status"] == "GENERATING"
    lab.time.advance(8)
    assert lab.plain.get(lab.get_clip(recut).json()["clipUrl"]).content != old
    assert lab.plain.get(old_link).content == old


def test_a_renamed_clip_keeps_its_bytes(bench: Callable[..., Any]) -> None:
    lab = bench()
    session, clip = lab.session_with_clip()
    link = lab.link(clip)
    lab.server.world.rename_clip(session.session_id, clip.clip_uuid, "New name")
    assert lab.list_clips(session.session_id).json()["clips"][0]["name"] == "New name"
    assert httpx.URL(lab.get_clip(clip).json()["clipUrl"]).path == httpx.URL(link).path


def test_the_file_of_a_deleted_clip_is_gone(bench: Callable[..., Any]) -> None:
    lab = bench()
    session, clip = lab.session_with_clip()
    link = lab.link(clip)
    lab.server.world.delete_clip(session.session_id, clip.clip_uuid)
    assert "NoSuchKey" in lab.plain.get(link).text
