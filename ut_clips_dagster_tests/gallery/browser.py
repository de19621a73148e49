"""Chromium without a window, and axe-core: both are fetched where they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page, Request, sync_playwright

CHROMIUM = "/usr/bin/chromium"
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]
AXE = "axe-core@4.11.0"
CACHE = Path.home() / ".cache" / "ut-clips-tests"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; installed by apt on a bare machine, where we may."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not Path(CHROMIUM).exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        with FileLock(CACHE / "apt.lock"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
                wait = ["-o", "DPkg::Lock::Timeout=120"]
                subprocess.run(["apt-get", *wait, *command], env=environment, capture_output=True, check=False)
    if not Path(CHROMIUM).exists():
        pytest.skip("NOT TESTED IN A BROWSER: there is no /usr/bin/chromium, and it could not be installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


WAITS_S = 30.0


def axe_script() -> str:
    """axe-core as npm has it; kept between runs."""
    place = CACHE / AXE / "axe.min.js"
    if not place.exists():
        if shutil.which("npm") is None:
            pytest.skip("NOT TESTED FOR ACCESSIBILITY: there is no npm to fetch axe-core with")
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(CACHE / "npm.lock"):
            packed = subprocess.run(["npm", "pack", AXE], cwd=place.parent, capture_output=True, text=True, check=False)
            if packed.returncode:
                pytest.skip(f"NOT TESTED FOR ACCESSIBILITY: npm could not fetch {AXE}")
            with tarfile.open(place.parent / packed.stdout.split()[-1]) as package:
                script = package.extractfile("package/axe.min.js")
                assert script is not None
                place.write_bytes(script.read())
    return place.read_text(encoding="utf-8")


def until(page: Page, true: str) -> None:
    """Wait until it is; Playwright's own way evaluates text within the page, which its policy forbids."""
    deadline = time.monotonic() + WAITS_S
    while not page.evaluate(true):
        assert time.monotonic() < deadline, true
        page.wait_for_timeout(20)


def violations(page: Page, script: str) -> list[str]:
    """What axe-core finds wrong with the page as it is; it is let in past the page's own policy by the debugger."""
    page.evaluate(script)
    found = page.evaluate("() => axe.run(document, { preload: false })")
    assert found["passes"]
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


class Watched:
    """Every request and every complaint of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request))  # noqa: PLW0108 - Playwright takes no method of a list
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message) or dialog.dismiss())

    def assert_nothing_left(self, url: str) -> None:
        """Nobody else was asked for anything, and nothing went wrong."""
        elsewhere = [each.url for each in self.requests if not each.url.startswith((url + "/", "blob:"))]
        assert self.requests
        assert not elsewhere
        assert not self.complaints
        assert all(urlsplit(each.url).scheme == "http" for each in self.requests)
