"""Makes the README's pictures, docs/images/*.png: `make screenshots`; a minute or two.

Archives what `make demo` shows, by one `ut-clips archive` and without its daemon, so that the pictures are the same
each time; then looks at Dagster, the gallery and the commands with Chromium without a window.
"""

from __future__ import annotations

import html
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import av
import av.filter
import httpx
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

from ut_clips_dagster.cli.demo import TIME_SCALE, environment, free_port
from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster_tests.gallery.browser import CHROMIUM, SWITCHES

IMAGES = Path(__file__).parent / "images"
WAITS_S = 900.0
WAITS_MS = WAITS_S * 1000
QUIET_MS = 3000
MAX_BYTES = 200_000
COLUMNS = 104
SPINNER = re.compile("[\u2800-\u28ff]")
"""A frame of one: without a terminal each is a line."""
ARCHIVE = ["ut-clips", "archive"]
UNFINISHED = 2
WORD = "coupon"
COMMANDS = (
    ["ut-clips", "status"],
    ["ut-clips", "sql", f"select clip_name, duration_s, words from clips where text ilike '%{WORD}%' limit 3"],
    ["ut-clips", "verify"],
)
TERMINAL = """<style>
body { margin: 0; background: #fff; }
#terminal { display: inline-block; padding: 42px 24px 20px; background: #16181d; color: #e4e6eb; border-radius: 10px;
  position: relative; font: 14px/1.42 "DejaVu Sans Mono", Menlo, monospace; white-space: pre; }
#terminal::before { content: "● ● ●"; position: absolute; top: 10px; left: 22px; color: #4a4f5a; }
b { color: #8fb2ff; }
</style><div id="terminal">%s</div>"""


def run(words: list[str], settings: Mapping[str, str], folder: Path) -> str:
    """What a command of ours says, in colours."""
    settings = {**settings, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    if (
        done.returncode == UNFINISHED and words == ARCHIVE
    ):  # links of this simulator live 45 s: too short on a busy machine
        return run(words, settings, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not SPINNER.search(line))


@contextmanager
def webserver(settings: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Dagster's UI over the instance; its address."""
    port = free_port(0)
    command = ["dagster-webserver", "-m", "ut_clips_dagster.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with (folder / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=folder,
            env=settings,
            stdout=log,
            stderr=log,
        )
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + WAITS_S
        while not answers(url):
            assert process.poll() is None, (folder / "webserver.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Whether somebody is there already."""
    try:
        return httpx.get(f"{url}/server_info", timeout=60).is_success
    except httpx.TransportError:
        return False


def show_dagster(browser: Browser, url: str, session: str) -> None:
    """The graph of all assets, and one session's partition."""
    page = browser.new_page(viewport={"width": 1440, "height": 620}, reduced_motion="reduce")
    page.set_default_timeout(WAITS_MS)
    page.goto(f"{url}/asset-groups")
    page.get_by_text("clip_transcripts").first.wait_for()
    page.get_by_text("Hide navigation").click()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(QUIET_MS)
    save(page.screenshot(), "graph")
    page.set_viewport_size({"width": 1440, "height": 860})
    page.goto(f"{url}/assets/clip_metadata?view=partitions&partition={session}")
    page.get_by_text("row_count").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(QUIET_MS)
    save(page.screenshot(), "session")


def show_gallery(browser: Browser, address: str) -> None:
    """A search, and the moment that it finds."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.set_default_timeout(WAITS_MS)
    page.goto(address)
    while not page.locator("#grid mark").count():  # until its index has taken over what was just archived
        page.reload()
        page.get_by_label("Search").fill(WORD)
        page.wait_for_timeout(QUIET_MS)
    page.locator("#grid .moment").first.click()
    page.locator("#lines [aria-current=true]").wait_for()
    page.wait_for_timeout(QUIET_MS)
    page.evaluate("document.activeElement.blur()")
    save(page.screenshot(), "gallery")


def show_commands(browser: Browser, settings: Mapping[str, str], folder: Path) -> None:
    """What the commands say."""
    shown = []
    for words in COMMANDS:
        line = " ".join(f'"{word}"' if " " in word else word for word in words)
        text = Text.from_ansi(run(words, settings, folder).replace(settings["UT_CLIPS_ARCHIVE"], "data"))
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        console.print(text, highlight=False)
        shown.append(f"<b>$ {html.escape(line)}</b>\n{console.export_html(inline_styles=True, code_format='{code}')}")
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_content(TERMINAL % "\n".join(shown))
    save(page.locator("#terminal").screenshot(), "terminal")


def save(picture: bytes, name: str) -> None:
    """As a PNG of at most 256 colours: a third of the bytes, and nothing that one would see."""
    with av.open(io.BytesIO(picture)) as container:
        frame = next(container.decode(video=0)).reformat(format="rgb24")
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=1)
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, sink = graph.add("paletteuse", "dither=none:new=1"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(use, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    graph.push(frame)
    graph.push(None)
    few = graph.pull()
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = few.width, few.height, "pal8", 1
    codec.options = {"compression_level": "9", "pred": "mixed"}
    made = b"".join(bytes(packet) for packet in [*codec.encode(few), *codec.encode(None)])
    path = IMAGES / f"{name}.png"
    path.write_bytes(min(made, picture, key=len))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)
    assert path.stat().st_size < MAX_BYTES, path


def main() -> None:
    """All four."""
    IMAGES.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="ut-clips-screenshots-"))
    archive = folder / "archive"
    gallery = GalleryServer(LocalStore(archive), folder / "gallery")
    with SimulatorServer(SimulatorConfig(time_scale=TIME_SCALE)) as simulator, gallery:
        settings = environment(simulator, folder, gallery.url)
        print(run(ARCHIVE, settings, folder), flush=True)
        with webserver(settings, folder) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
            show_gallery(browser, gallery.address)
            show_commands(browser, settings, folder)
            rows = MetadataTable(str(archive)).read()
            show_dagster(browser, url, str(rows["session_id"].value_counts().idxmax()))
            browser.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
