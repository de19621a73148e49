"""The gallery's addresses, over a directory and over a bucket."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.gallery import files
from ut_clips_dagster.gallery.captions import captions
from ut_clips_dagster.gallery.files import checked_path
from ut_clips_dagster.gallery.index import Index
from ut_clips_dagster.gallery.queries import Cue
from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.gallery.sheet import contact_sheet
from ut_clips_dagster.storage.local import LocalStore

from .archive import Archive, Clip, Session, picture
from .conftest import client, running

CLIP = Clip("Checkout", "About it", [(0, "Where is the total?"), (4000, "<b>Leaves</b> & goes")])
BROKEN = Clip("Delivery", start_ms=300_000, status="ERROR", error="ERROR three times")
SESSION = Session(1, [CLIP, BROKEN])
HERE = f"{SESSION.id}/{CLIP.uuid}"


def test_a_clip_is_streamed_whole_and_in_parts_with_no_link_handed_out(archive: Archive, tmp_path: Path) -> None:
    archive.add(SESSION)
    content = archive.content(CLIP)
    with running(archive.store, tmp_path) as gallery, client(gallery) as visitor:
        whole = visitor.get(f"/media/{HERE}")
        assert (whole.status_code, whole.content) == (200, content)
        assert whole.headers["content-type"] == "video/mp4"
        for asked, expected in (
            ("bytes=5-9", content[5:10]),
            ("bytes=-7", content[-7:]),
            ("bytes=40000-", content[40000:]),
        ):
            part = visitor.get(f"/media/{HERE}", headers={"range": asked})
            assert (part.status_code, part.content) == (206, expected)
        assert visitor.get(f"/media/{HERE}", headers={"range": f"bytes={len(content)}-"}).status_code == 416
        head = visitor.head(f"/media/{HERE}", headers={"range": "bytes=0-9"})
        assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "10")
        etag = whole.headers["etag"]
        assert visitor.get(f"/media/{HERE}", headers={"if-none-match": etag}).status_code == 304
        answers = [whole, visitor.get(f"/api/clips/{HERE}"), visitor.get("/api/search")]
    assert not any("storage_path" in answer.text or "http" in answer.text for answer in answers[1:])


def test_a_file_that_is_gone_or_short_is_an_error_and_never_a_short_success(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(SESSION)
    path = tmp_path / "archive" / archive.path(SESSION, CLIP)
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(httpx.RemoteProtocolError):
            visitor.get(f"/media/{HERE}")
        assert visitor.get(f"/media/{HERE}", headers={"range": "bytes=500-"}).status_code == 502
        path.unlink()
        assert visitor.get(f"/media/{HERE}").status_code == 502


def test_what_is_asked_for_and_not_there_is_not_found(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(SESSION)
    unknown = "00000000-0000-4000-8000-000000000000"
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        for path in (
            f"/media/{SESSION.id}/{BROKEN.uuid}",
            f"/media/{SESSION.id}/{unknown}",
            f"/media/{SESSION.id}/..%2f..%2fsecret",
            f"/posters/{SESSION.id}/{BROKEN.uuid}",
            f"/api/clips/{unknown}/{CLIP.uuid}",
            "/api/clips/x/y",
            f"/api/sessions/{unknown}",
            f"/sheets/{unknown}.jpg",
            f"/sheets/{SESSION.id}.jpg",  # what is there is no picture
            "/api/search?sound=loud",
            "/api/search?after=-1",
            f"/api/search?q={'x' * 500}",
            "/static/../app.py",
            "/static/%2e%2e/app.py",
            "/docs",
            "/openapi.json",
        ):
            assert visitor.get(path).status_code == 404, path


HOSTILE = (
    "../secret.mp4",
    "/etc/passwd",
    "clips/../secret.mp4",
    "clips/a/../../../secret.mp4",
    "clips/a/b/../../../../secret.mp4",
    "clips//b/c.mp4",
    "sessions/a/b/session.json",
    "clips\\..\\a/b/c.mp4",
    "clips/a/b/c.mp4\0.jpg",
    "",
)


def test_a_path_of_the_table_outside_of_clips_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    (tmp_path / "secret.mp4").write_text("secret")
    clips = [
        Clip(f"clip {n}", start_ms=n, extra={"storage_path": path, "size_bytes": 6}) for n, path in enumerate(HOSTILE)
    ]
    archive.add(Session(1, clips))
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        monkeypatch.setattr(archive.store, "read_range", lambda path, *_: pytest.fail(f"{path!r} was read"))
        for clip, path in zip(clips, HOSTILE, strict=True):
            assert visitor.get(f"/media/{SESSION.id}/{clip.uuid}").status_code == 502, path
    assert not any(checked_path(path) for path in (*HOSTILE, None))


@pytest.mark.parametrize("path", ["clips/a/b/c.mp4", "clips/a/b/c/1-2.mp4"])
def test_a_path_of_a_clip_is_one(path: str) -> None:
    assert checked_path(path, ".mp4") == path
    assert checked_path(path, ".jpg") is None


def test_a_type_that_a_media_host_made_up_is_not_handed_on(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(Session(1, [Clip(**{**vars(CLIP), "content_type": "text/html"})]))
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        assert visitor.get(f"/media/{HERE}").headers["content-type"] == "video/mp4"


def test_a_session_has_a_page_pictures_and_a_sheet_of_them(archive: Archive, tmp_path: Path) -> None:
    archive.real = True
    archive.add(SESSION)
    with running(archive.store, tmp_path) as gallery, client(gallery) as visitor:
        assert visitor.get(f"/sessions/{SESSION.id}").headers["content-type"].startswith("text/html")
        session = visitor.get(f"/api/sessions/{SESSION.id}").json()
        assert [(clip["name"], clip["stored"]) for clip in session["clips"]] == [
            ("Checkout", True),
            ("Delivery", False),
        ]
        poster = visitor.get(session["clips"][0]["poster"])
        assert (poster.status_code, poster.content) == (200, picture(CLIP.uuid))
        sheet = visitor.get(f"/sheets/{SESSION.id}.jpg")
        assert (sheet.headers["content-type"], sheet.content[:2]) == ("image/jpeg", b"\xff\xd8")
        page = visitor.get(f"/api/clips/{SESSION.id}/{BROKEN.uuid}").json()
        assert (page["error"], page["cues"]) == ("ERROR three times", [])


def test_a_sheet_holds_what_can_be_read_each_picture_whole() -> None:
    good = picture(CLIP.uuid)
    assert contact_sheet([]) is None
    assert contact_sheet([b"no picture", good[:200], b""]) is None
    one, many = contact_sheet([b"no picture", good]), contact_sheet([good] * 30)
    assert one is not None
    assert many is not None
    assert len(many) > len(one)


def test_a_poster_that_is_too_large_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_POSTER_BYTES", 5)
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(SESSION)
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        assert visitor.get(f"/posters/{HERE}").status_code == 404


def test_captions_are_text_whatever_was_said(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(SESSION)
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        vtt = visitor.get(f"/captions/{HERE}.vtt")
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text.endswith("00:00:04.000 --> 00:00:12.000\n<v Participant>&lt;b&gt;Leaves&lt;/b&gt; &amp; goes\n")
    hostile = captions([Cue(start_ms=-5, end_ms=-9, voice="a>b", text="--> x")])
    assert hostile == "WEBVTT\n\n00:00:00.000 --> 00:00:00.000\n<v a&gt;b>--&gt; x\n"


def test_what_is_archived_while_it_runs_is_found_without_a_restart(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        assert visitor.get("/api/state").json()["archive"]["clips"] == 0
        archive.add(SESSION)
        deadline = time.monotonic() + 30
        while visitor.get("/api/search", params={"q": "leaves"}).json()["total"] != 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_damaged_index_heals_while_it_runs(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(SESSION)
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        path = Index(tmp_path / "cache", archive.store.uri).path
        assert path is not None
        path.write_bytes(b"not a database" * 1000)
        deadline = time.monotonic() + 30
        while (answer := visitor.get("/api/search")).status_code != 200:
            assert answer.status_code == 503
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert answer.json()["total"] == 2


def test_tables_that_cannot_be_read_are_told_and_what_is_known_is_still_shown(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(SESSION)
    with running(archive.store, tmp_path / "cache") as gallery, client(gallery) as visitor:
        for log in (tmp_path / "archive" / "clip_metadata" / "_delta_log").glob("*"):
            log.write_text("no log")
        deadline = time.monotonic() + 30
        while not (state := visitor.get("/api/state").json())["problem"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "clip_metadata" in state["problem"]
        assert visitor.get("/api/search").json()["total"] == 2


def test_a_taken_port_is_said_and_two_galleries_keep_each_others_cookies(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "archive")
    with running(store, tmp_path / "cache") as gallery:
        port = int(gallery.url.rsplit(":", 1)[1])
        with pytest.raises(ClipsError, match=f"port {port}"), GalleryServer(store, tmp_path / "cache", port=port):
            pass
        with GalleryServer(store, tmp_path / "cache") as other:
            names = {httpx.get(each.address).headers["set-cookie"].split("=")[0] for each in (gallery, other)}
    assert len(names) == 2
