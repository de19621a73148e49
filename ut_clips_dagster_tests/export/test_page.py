"""The page as whoever is given it opens it: from disk, in headless Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.export import page as page_format
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster_tests.gallery.archive import Clip, Session
from ut_clips_dagster_tests.gallery.browser import axe_script, chromium, until, violations

from .archive import SESSIONS, fill, run

HOSTILE = "</script><img src=//evil.example/x onerror=alert(1)><script>alert(2)</script>\u2028&quot;'\"`${alert(3)}"
CUES = [(0, "So I am on the checkout page"), (4000, "Hmm, I would hesitate here"), (8000, "and look for the total")]
CHECKOUT = Clip("Checkout: the coupon field", "Looks for a code.", CUES)
INJECTED = Clip(HOSTILE, HOSTILE, [(0, HOSTILE)], voice=HOSTILE, start_ms=9_000)
SILENT = Clip("Silent", None, None, start_ms=400_000, sound=False, poster=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's address."""
    root = tmp_path_factory.mktemp("a page, with ünïcode & #5%")
    store = LocalStore(tmp_path_factory.mktemp("archive"))
    fill(store, [Session(1, [SILENT]), Session(5, [CHECKOUT, INJECTED])], real=True)
    run(store, root / "page", "page")
    return (root / "page" / "index.html").as_uri()


@pytest.fixture
def page(browser: Browser, index: str) -> Iterator[Page]:
    """At its end it must have asked nobody, and complained of nothing."""
    asked: list[str] = []
    complaints: list[str] = []
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message) or dialog.dismiss())
        page.goto(index)
        yield page
    assert not complaints
    assert asked
    assert all(url.startswith((index.rsplit("/", 1)[0], "data:")) for url in asked)


def test_search_open_play_and_seek_from_disk(page: Page, index: str) -> None:
    expect(page.locator("#count")).to_have_text("3 clips, newest first")
    page.keyboard.press("/")
    page.keyboard.type("hesit coupon")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card .moment")).to_have_text("0:04 Hmm, I would hesitate here")
    assert page.locator(".card img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 480
    page.locator(".card a").press("Enter")
    until(page, "document.querySelector('video')?.currentTime >= 4")
    page.get_by_role("button", name="and look for the total").click()
    until(page, "document.querySelector('video').currentTime >= 8")
    expect(page.locator("#lines button[aria-current]")).to_have_text("0:08Participantand look for the total")
    page.evaluate("() => { document.querySelector('video').textTracks[0].mode = 'hidden'; }")  # off until asked for
    until(page, "document.querySelector('video').textTracks[0].cues?.length === 3")
    page.keyboard.press("Escape")
    expect(page.locator(".card a")).to_be_focused()
    page.goto(f"{index}#clip/{Session(1, [SILENT]).id}/{SILENT.uuid}")
    page.reload()
    expect(page.locator("#player-title")).to_have_text("Silent")
    expect(page.locator("#nothing")).to_be_visible()
    page.keyboard.press("p")
    expect(page.locator("#player-title")).not_to_have_text("Silent")
    silent = f"#clip/{Session(1, [SILENT]).id}/{SILENT.uuid}"
    page.evaluate("hash => { document.getElementById('player').close(); location.hash = hash; }", silent)
    expect(page.locator("#player-title")).to_have_text("Silent")
    expect(page).to_have_url(f"{index}{silent}")


def test_without_violations_of_accessibility(page: Page) -> None:
    script = axe_script()
    assert violations(page, script) == []
    page.locator(".card a").first.click()
    assert violations(page, script) == []


def test_names_and_words_of_strangers_are_text(page: Page) -> None:
    page.get_by_label("Search names").fill("alert")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card .name")).to_have_text(HOSTILE.replace("\u2028", " "))
    page.locator(".card a").click()
    expect(page.locator("#lines b")).to_have_text(HOSTILE.replace("\u2028", " "))
    assert page.locator("#player img, #player script").count() == 0


def test_more_clips_than_a_page_holds_are_refused_before_anything_is_copied(
    tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setattr(page_format, "MOST_CLIPS", 8)
    with pytest.raises(SettingsError, match="9 clips are selected, and a page holds 8"):
        run(store, tmp_path / "x", "page")
    assert not list((tmp_path / "x").rglob("*.mp4"))


def test_its_data_is_a_script_of_ascii_alone(tmp_path: Path, store: LocalStore) -> None:
    fill(store)
    run(store, tmp_path / "x", "page")
    script = (tmp_path / "x" / "page" / "data.js").read_bytes()
    assert script.isascii()
    clips = json.loads(re.fullmatch(rb"const CLIPS = (.*);\n", script, re.DOTALL)[1])  # type: ignore[index]
    assert {clip["name"] for clip in clips} == {
        clip.name for s in SESSIONS for clip in s.clips if clip.status == "STORED"
    }
    assert [clip["at_ms"] for clip in clips] == sorted((clip["at_ms"] for clip in clips), reverse=True)
