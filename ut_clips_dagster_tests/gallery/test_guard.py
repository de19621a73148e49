"""Who may look, and what every answer says to the browser."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.gallery.guard import token_of
from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.storage.local import LocalStore

from .conftest import TOKEN, client, running

PAGE = {"accept": "text/html"}
ADDRESSES = (
    "/",
    "/sessions/x",
    "/api/state",
    "/api/search",
    "/media/a/b",
    "/posters/a/b",
    "/sheets/a.jpg",
    "/static/main.js",
)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GalleryServer]:
    root = tmp_path_factory.mktemp("guarded")
    with running(LocalStore(root / "archive"), root / "cache", allowed_hosts=("clips.example",)) as server:
        yield server


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"]


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_cannot_use_and_leaves_the_address(
    gallery: GalleryServer,
) -> None:
    answer = httpx.get(f"{gallery.url}/?q=a%26b&token={TOKEN}&study=x")

    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=a%26b&study=x")
    (cookie,) = SimpleCookie(cookie_of(answer)).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert httpx.get(f"{gallery.url}/api/state", cookies={cookie.key: cookie.value}).status_code == 200


def test_without_the_token_nothing_is_answered(gallery: GalleryServer) -> None:
    name = SimpleCookie(cookie_of(httpx.get(gallery.address))).popitem()[0]
    with httpx.Client(base_url=gallery.url) as stranger:
        for path in ADDRESSES:
            for cookie in ("", f"{name}=", f"{name}={TOKEN[:-1]}", f"{name}={TOKEN}x", f"other={TOKEN}"):
                assert stranger.get(path, headers={"cookie": cookie}).status_code == 401, (path, cookie)
            refused = stranger.get(f"{path}?token=wrong")
            assert (refused.status_code, "set-cookie" in refused.headers) == (401, False), path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:1@evil.example", "[::1"])
def test_a_name_that_is_not_known_is_refused_even_with_the_token(gallery: GalleryServer, host: str) -> None:
    with client(gallery) as visitor:
        for path in (*ADDRESSES, f"/?token={TOKEN}"):
            answer = visitor.get(path, headers={"host": host})
            assert answer.status_code in (400, 421), path
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:8091", "CLIPS.example", "clips.example:443"])
def test_this_machine_and_names_that_are_allowed_are_answered(gallery: GalleryServer, host: str) -> None:
    with client(gallery) as visitor:
        assert visitor.get("/api/state", headers={"host": host}).status_code == 200


def test_health_needs_neither_token_nor_name_and_tells_nothing(gallery: GalleryServer) -> None:
    answer = httpx.get(f"{gallery.url}/healthz", headers={"host": "10.0.0.7"})
    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(gallery: GalleryServer, method: str) -> None:
    with client(gallery) as visitor:
        assert visitor.request(method, "/api/state").status_code == 405


@pytest.mark.parametrize("path", ["/", "/api/state", "/nowhere", "/static/main.js", "/healthz", "/api/clips/a/b"])
def test_every_answer_keeps_the_browser_within_the_page(gallery: GalleryServer, path: str) -> None:
    with client(gallery) as visitor:
        for answer in (
            visitor.get(path),
            httpx.get(gallery.url + path),
            httpx.get(gallery.url + path, headers={"host": "x"}),
        ):
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert "http" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in answer.headers
            assert "server" not in answer.headers


def test_whoever_comes_without_the_token_is_asked_for_it_and_led_to_where_they_wanted(gallery: GalleryServer) -> None:
    answer = httpx.get(f"{gallery.url}/sessions/s?q=%22%3E%3Cscript%3E", headers=PAGE)
    assert answer.status_code == 401
    assert "Token" in answer.text
    assert '<input type="hidden" name="q" value="&quot;&gt;&lt;script&gt;">' in answer.text
    admitted = httpx.get(f"{gallery.url}/sessions/s?token={TOKEN}&q=1", headers=PAGE)
    assert admitted.headers["location"] == "/sessions/s?q=1"


def test_the_way_back_never_leads_to_another_host(gallery: GalleryServer) -> None:
    for path in ("//evil.example/", "/\\evil.example/", "///evil.example"):
        location = httpx.get(f"{gallery.url}{path}?token={TOKEN}").headers["location"]
        assert location.startswith("/")
        assert not location.startswith(("//", "/\\"))


def test_a_link_on_another_site_is_opened_by_our_own_page(gallery: GalleryServer) -> None:
    """A browser sends no strict cookie along with it; the reload by the page itself brings it."""
    answer = httpx.get(f"{gallery.url}/sessions/s?a=1&b=2", headers={**PAGE, "sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'content="0;url=/sessions/s?a=1&amp;b=2"' in answer.text
    assert TOKEN not in answer.text


def test_a_token_file_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = token_of(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_of(path) == token
    path.write_text("short")
    with pytest.raises(SettingsError, match="16 characters"):
        token_of(path)
    with pytest.raises(SettingsError, match="cannot be used"):
        token_of(tmp_path / "missing" / "token")
