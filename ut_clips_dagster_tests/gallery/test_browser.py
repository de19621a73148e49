"""The gallery as people use it, in headless Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Route, expect

from ut_clips_dagster.gallery import app
from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.storage.local import LocalStore

from .archive import OTHER_STUDY, Archive, Clip, Session
from .browser import Watched, axe_script, chromium, until, violations
from .conftest import TOKEN, running

CUES = [(0, "So I am on the checkout page"), (4000, "Hmm, I would hesitate here"), (8000, "and look for the total")]
CHECKOUT = Clip("Checkout: the coupon field", "Looks for a code.", CUES)
PRICING = Clip("Pricing: cannot tell the plans apart", None, [(0, "Which one has exports?")], start_ms=200_000)
SILENT = Clip("Silent", None, None, start_ms=400_000, sound=False, poster=False)
BROKEN = Clip("Delivery", None, None, start_ms=600_000, status="ERROR", error="UserTesting answered ERROR three times.")
DELETED = Clip("Deleted there, kept here", None, None, listed=False)
HOSTILE = "<img src=//evil.example/x onerror=alert(1)><script>alert(2)</script>&quot;'\"`${alert(3)}"
INJECTED = Clip(HOSTILE, HOSTILE, [(0, HOSTILE), (3000, "javascript:alert(4)")], voice=HOSTILE, start_ms=9_000)
FAILED = Clip("Injected error", None, None, status="MISSING", error=HOSTILE, start_ms=20_000)
NEWEST = Session(5, [CHECKOUT, PRICING, SILENT, BROKEN])
OLDER = Session(2, [DELETED], OTHER_STUDY)
INJECTION = Session(1, [INJECTED, FAILED])
PHONE = {"width": 375, "height": 720}
DESKTOP = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GalleryServer]:
    root = tmp_path_factory.mktemp("shown")
    archive = Archive(LocalStore(root / "archive"))
    for session in (NEWEST, OLDER, INJECTION):
        archive.add(session)
    with running(archive.store, root / "cache") as server:
        yield server


@contextmanager
def visit(browser: Browser, gallery: GalleryServer, path: str = "/", **options: Any) -> Iterator[Page]:
    """A page for somebody who has the token; at its end it must have asked nobody else, and complained of nothing."""
    with browser.new_context(**{"viewport": DESKTOP, **options}) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        watched = Watched(page)
        separator = "&" if "?" in path.split("#", maxsplit=1)[0] else "?"
        before, hash_, after = path.partition("#")
        page.goto(f"{gallery.url}{before}{separator}token={TOKEN}{hash_}{after}")
        yield page
        watched.assert_nothing_left(gallery.url)


def clip_hash(session: Session, clip: Clip) -> str:
    return f"#/clip/{session.id}/{clip.uuid}"


def seconds(page: Page) -> float:
    return page.evaluate("document.querySelector('video').currentTime")


def names(page: Page) -> list[str]:
    return page.locator("#grid .name").all_inner_texts()


def test_search_as_one_types_opens_at_the_moment_by_keyboard_and_plays(
    browser: Browser, gallery: GalleryServer
) -> None:
    with visit(browser, gallery) as page:
        expect(page).to_have_url(f"{gallery.url}/")  # without the token
        expect(page.locator("#count")).to_have_text("7 clips from 3 sessions, newest first")
        page.keyboard.press("/")
        page.keyboard.type("hesit")
        expect(page.locator("#count")).to_have_text("1 clip")
        expect(page.locator("#grid mark")).to_have_text(["hesitate"])
        assert page.url.endswith("/?q=hesit")
        while page.evaluate("!document.activeElement.matches('#grid a')"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")

        expect(page.get_by_role("dialog", name="Checkout: the coupon field")).to_be_visible()
        until(page, "document.querySelector('video')?.currentTime > 4.3")
        assert 4 <= seconds(page) < 12
        expect(page.locator("#lines [aria-current=true]")).to_contain_text("hesitate")

        page.keyboard.press("Escape")
        expect(page.locator("#player")).not_to_be_visible()
        until(page, f"document.activeElement.dataset.clip === '{CHECKOUT.uuid}'")
        expect(page).to_have_url(f"{gallery.url}/?q=hesit")


def test_a_click_on_a_line_seeks_and_the_playing_line_is_marked(browser: Browser, gallery: GalleryServer) -> None:
    with visit(browser, gallery, f"/{clip_hash(NEWEST, CHECKOUT)}") as page:
        page.get_by_role("button", name=re.compile("look for the total")).click()
        until(page, "document.querySelector('video').currentTime > 8.3")
        expect(page.locator("#lines [aria-current=true]")).to_contain_text("look for the total")
        page.get_by_role("button", name=re.compile("on the checkout page")).press("Enter")
        until(page, "document.querySelector('video').currentTime < 4")
        expect(page.locator("#lines [aria-current=true]")).to_contain_text("on the checkout page")
        assert page.evaluate("document.querySelector('video').textTracks[0].kind") == "captions"


def test_a_link_leads_to_a_clip_and_a_moment_and_is_copied(browser: Browser, gallery: GalleryServer) -> None:
    granted = {"permissions": ["clipboard-read", "clipboard-write"], "reduced_motion": "reduce"}
    with visit(browser, gallery, f"/{clip_hash(NEWEST, CHECKOUT)}?t=5.5", **granted) as page:
        until(page, "document.querySelector('video')?.currentTime === 5.5")
        assert page.evaluate("document.querySelector('video').paused")
        page.keyboard.press("l")
        expect(page.locator("#said")).to_have_text("Link copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == f"{gallery.url}/{clip_hash(NEWEST, CHECKOUT)}?t=5.5"
        page.keyboard.press("Escape")
        expect(page).to_have_url(f"{gallery.url}/")


def test_a_clip_opened_while_another_closes_stays_open(browser: Browser, gallery: GalleryServer) -> None:
    with visit(browser, gallery, f"/{clip_hash(NEWEST, CHECKOUT)}") as page:
        expect(page.locator("#player-title")).to_have_text(CHECKOUT.name or "")
        pricing = clip_hash(NEWEST, PRICING)
        page.evaluate("hash => { document.getElementById('player').close(); location.hash = hash; }", pricing)
        expect(page.locator("#player-title")).to_have_text(PRICING.name or "")
        expect(page.locator("#player")).to_be_visible()
        expect(page).to_have_url(f"{gallery.url}/{pricing}")


def test_a_link_into_a_search_opens_among_what_it_finds_however_late_that_comes(
    browser: Browser, gallery: GalleryServer
) -> None:
    def late(route: Route) -> None:
        time.sleep(0.5)  # the archive's state comes before, and the page asks anew
        with suppress(Error):
            route.continue_()

    with visit(browser, gallery) as page:
        page.route("**/api/search*", late)
        page.goto(f"{gallery.url}/?q=page{clip_hash(NEWEST, CHECKOUT)}")
        page.reload()
        expect(page.locator("#position")).to_have_text("1 of 1")
        expect(page.locator("#lines mark")).to_have_text("page")


def test_a_clip_that_is_not_here_says_so_and_leads_to_the_others(browser: Browser, gallery: GalleryServer) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{gallery.url}/?token={TOKEN}{clip_hash(OLDER, CHECKOUT)}")
        expect(page.locator("#player-title")).to_have_text("This clip is not here")
        expect(page.locator("#previous")).to_be_disabled()
        expect(page.locator("#close")).to_be_focused()
        page.locator("#next").click()
        expect(page.locator("#player-title")).to_have_text(CHECKOUT.name or "")


def test_keys_lead_to_the_next_and_the_previous_clip_and_back_to_the_card(
    browser: Browser, gallery: GalleryServer
) -> None:
    with visit(browser, gallery) as page:
        page.locator("#grid a").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        title = page.locator("#player-title")
        expect(title).to_have_text(CHECKOUT.name or "")
        expect(page.locator("#previous")).to_be_disabled()
        page.keyboard.press("n")
        expect(title).to_have_text(PRICING.name or "")
        expect(page.locator("#said")).to_have_text(f"{PRICING.name}, 2 of 7")
        page.keyboard.press("n")
        expect(title).to_have_text("Silent")
        expect(page.locator("#transcript")).to_contain_text("There is no transcript of this clip.")
        page.keyboard.press("p")
        expect(title).to_have_text(PRICING.name or "")
        assert page.url.endswith(clip_hash(NEWEST, PRICING))
        page.keyboard.press("Escape")
        until(page, f"document.activeElement.dataset.clip === '{PRICING.uuid}'")

        page.get_by_text("Keyboard").click()
        page.get_by_label("Single keys do this").uncheck()
        page.locator("#grid a").first.press("Enter")
        expect(title).to_have_text(CHECKOUT.name or "")
        page.keyboard.press("n")
        page.locator("#next").click()  # only this one counts
        expect(title).to_have_text(PRICING.name or "")
        page.keyboard.press("Escape")


def test_filters_narrow_and_stand_in_the_address(browser: Browser, gallery: GalleryServer) -> None:
    with visit(browser, gallery) as page:
        page.get_by_label("Sound").select_option("no")
        expect(page.locator("#count")).to_have_text("1 clip")
        assert names(page) == ["Silent"]
        page.get_by_label("Sound").select_option("")
        page.get_by_label("Status").select_option("ERROR")
        expect(page.locator("#grid .badge")).to_have_text(["Could not be generated"])
        page.get_by_role("button", name="Clear filters").click()
        page.get_by_label("Study").select_option(OTHER_STUDY)
        expect(page.locator("#count")).to_have_text("1 clip")
        page.reload()
        expect(page.locator("#grid .badge")).to_have_text(["Deleted at UserTesting"])
        page.get_by_role("button", name="Clear filters").click()
        page.get_by_label("From", exact=True).fill("2026-11-04")
        page.get_by_label("To", exact=True).fill("2026-11-05")
        expect(page.locator("#count")).to_have_text("1 clip")
        assert names(page) == ["Deleted there, kept here"]
        page.get_by_label("Search").fill("nothing like it")
        page.get_by_role("button", name="Clear search and filters").click()
        expect(page.locator("#count")).to_have_text("7 clips from 3 sessions, newest first")


def test_a_session_has_its_page_and_what_is_not_stored_says_why(browser: Browser, gallery: GalleryServer) -> None:
    with visit(browser, gallery, f"/sessions/{NEWEST.id}") as page:
        expect(page.get_by_role("heading", level=1)).to_contain_text("Session of November 7, 2026")
        expect(page.locator("#session-grid .card")).to_have_count(4)
        expect(page.locator("#timeline a")).to_have_count(4)
        page.locator("#timeline a").last.click()
        expect(page.locator("#stage")).to_contain_text("UserTesting answered ERROR three times.")
        expect(page.locator("#save")).to_be_hidden()
        assert page.url == f"{gallery.url}/sessions/{NEWEST.id}{clip_hash(NEWEST, BROKEN)}"
        page.keyboard.press("p")
        expect(page.locator("#player-title")).to_have_text("Silent")


def test_hostile_names_transcripts_and_errors_are_text_and_nothing_else(
    browser: Browser, gallery: GalleryServer
) -> None:
    with visit(browser, gallery, f"/?q=evil#/clip/{INJECTION.id}/{INJECTED.uuid}") as page:
        expect(page.locator("#player-title")).to_have_text(HOSTILE)
        expect(page.locator("#lines")).to_contain_text(HOSTILE)
        expect(page.locator("#about p").first).to_have_text(HOSTILE)
        until(page, "document.querySelector('video').readyState > 0")
        page.evaluate("document.querySelector('video').textTracks[0].mode = 'showing'")
        page.keyboard.press("Escape")
        expect(page.locator("#grid .name")).to_have_text([HOSTILE])
        page.goto(f"{gallery.url}/sessions/{INJECTION.id}{clip_hash(INJECTION, FAILED)}")
        expect(page.locator("#stage")).to_contain_text(HOSTILE)
        assert page.evaluate("document.querySelectorAll('script:not([src]), #main script, #player script').length") == 0
        assert page.evaluate("[...document.images].every((image) => image.src.startsWith(location.origin))")


def test_the_page_makes_elements_of_nothing_that_anybody_wrote() -> None:
    scripts = list(app.STATIC.glob("*.js"))
    assert len(scripts) >= 5
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser"
    for path in scripts:
        assert not re.search(forbidden, path.read_text(encoding="utf-8")), path.name
    for path in app.STATIC.glob("*.html"):
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?! type=\"module\" src=\"/static/)", path.read_text())


def test_on_a_phone_everything_fits_and_the_video_stays_in_sight(browser: Browser, gallery: GalleryServer) -> None:
    with visit(browser, gallery, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        fits = "document.documentElement.scrollWidth <= innerWidth"
        expect(page.locator("#grid .card").first).to_be_visible()
        assert page.evaluate(fits)
        expect(page.get_by_label("Study")).to_be_hidden()
        page.locator("#filters summary").tap()
        expect(page.get_by_label("Study")).to_be_visible()
        assert page.evaluate(fits)
        page.locator("#grid a").first.tap()
        expect(page.locator("#lines button").first).to_be_visible()
        assert page.evaluate("document.getElementById('player-body').scrollWidth <= innerWidth")
        for name in ("close", "next", "copy"):
            box = page.locator(f"#{name}").bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 40
        page.locator("#player-body").evaluate("(body) => body.scrollTo(0, 400)")
        box = page.locator("video").bounding_box()
        assert box is not None
        assert box["y"] >= 0
        page.locator("#close").tap()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_and_dark_is_dark(browser: Browser, gallery: GalleryServer, scheme: str) -> None:
    script = axe_script()
    with visit(browser, gallery, "/?q=a", color_scheme=scheme, bypass_csp=True, reduced_motion="reduce") as page:
        ground = (
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every((part) => part > 128)"
        )
        expect(page.locator("#grid .card:not(.ghost)").first).to_be_visible()
        assert page.evaluate(ground) is (scheme == "light")
        found = violations(page, script)
        page.locator("#grid a").first.click()
        expect(page.locator("#lines button").first).to_be_visible()
        found += violations(page, script)
        page.keyboard.press("Escape")
        page.get_by_label("Search").fill("nowhere at all")
        expect(page.locator("#empty")).to_be_visible()
        found += violations(page, script)
        page.goto(f"{gallery.url}/sessions/{NEWEST.id}")
        expect(page.locator("#session-grid .card").first).to_be_visible()
        found += violations(page, script)
        page.set_viewport_size(PHONE)
        found += violations(page, script)
        page.locator("#session-grid .card a").last.click()
        expect(page.locator("#stage strong")).to_be_visible()
        found += violations(page, script)
        page.context.clear_cookies()
    assert not found


def test_whoever_has_no_token_enters_it_and_a_link_from_another_site_opens(
    browser: Browser, gallery: GalleryServer, tmp_path: Path
) -> None:
    wanted = f"{gallery.url}/sessions/{NEWEST.id}"
    elsewhere = tmp_path / "dagster.html"
    elsewhere.write_text(f'<a href="{wanted}">gallery</a>')
    script = axe_script()
    with browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        answer = page.goto(wanted)
        assert answer is not None
        assert answer.status == 401
        assert not violations(page, script)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#session-grid .card")).to_have_count(4)
        assert page.url == wanted

        page.goto(elsewhere.as_uri())
        page.get_by_text("gallery").click()
        expect(page.locator("#session-grid .card")).to_have_count(4)


def test_another_name_that_leads_here_is_refused(browser: Browser, gallery: GalleryServer) -> None:
    port = gallery.url.rsplit(":", 1)[1]
    with browser.new_context() as context:
        page = context.new_page()
        answer = page.goto(f"http://evil.localhost:{port}/?token={TOKEN}")  # browsers resolve it to this machine
        assert answer is not None
        assert answer.status == 421
        assert not context.cookies()


class Dagster(BaseHTTPRequestHandler):
    """Any page of another server, with the picture that its address asks for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(f'<img src="{self.path.removeprefix("/?")}">'.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", True), ("localhost", False)])
def test_a_sheet_is_shown_by_dagster_on_the_same_host_and_by_no_other_site(
    browser: Browser, gallery: GalleryServer, host: str, shown: bool
) -> None:
    sheet = f"{gallery.url}/sheets/{NEWEST.id}.jpg"
    with ThreadingHTTPServer(("127.0.0.1", 0), Dagster) as server, browser.new_context() as context:
        Thread(target=server.serve_forever, daemon=True).start()
        page = context.new_page()
        page.goto(f"{gallery.url}/?token={TOKEN}")
        page.goto(f"http://{host}:{server.server_port}/?{sheet}", wait_until="load")
        assert (page.locator("img").evaluate("image => image.naturalWidth") > 0) == shown
        server.shutdown()


def test_an_empty_archive_says_so(browser: Browser, tmp_path: Path) -> None:
    with running(LocalStore(tmp_path / "archive"), tmp_path / "cache") as server, visit(browser, server) as page:
        expect(page.locator("#empty")).to_contain_text("No clips yet")


def test_new_clips_are_offered_while_it_is_open(browser: Browser, tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "archive"), real=False)
    archive.add(OLDER, media=False)
    with running(archive.store, tmp_path / "cache") as server, visit(browser, server) as page:
        expect(page.locator("#grid .card:not(.ghost)")).to_have_count(1)
        archive.add(NEWEST, media=False)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#grid .card:not(.ghost)")).to_have_count(5)
