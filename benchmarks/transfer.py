"""One large clip: throughput beside `rclone copyurl`, and memory beside a small clip, in one run.

    .venv/bin/python -m benchmarks.transfer [--megabytes 1024] [--pairs 5] [--gcs]

Each transfer is a process of its own, the two kinds in turn; what is compared is the ratio of their medians. Ours
includes crc32c, fsync and the atomic name; rclone is run as `rclone copyurl`, its own start included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SMALL_BYTES = 100_000
CLIP = "41f72104-5f84-44fa-a16a-03f575159611"


class Media(BaseHTTPRequestHandler):
    """Serves `/<size>` as so many bytes, by sendfile, so that the server costs little."""

    source: Path

    def do_GET(self) -> None:
        size = int(self.path.strip("/").removesuffix(".mp4"))
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        with self.source.open("rb") as file:
            self.connection.sendfile(file, 0, size)

    do_HEAD = do_GET  # noqa: N815 - the name the server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


def transfer(url: str, root: str) -> None:
    """The child: store one clip as the archive does, and print seconds and peak memory."""
    from dagster_gcp import GCSResource
    from pydantic import SecretStr

    from ut_clips_dagster.archive.documents import Cut, ListedClip
    from ut_clips_dagster.archive.downloads import Downloader
    from ut_clips_dagster.resources import ArchiveResource
    from ut_clips_dagster.results_api.media import MediaClient
    from ut_clips_dagster.results_api.models import now_utc

    store = ArchiveResource(gcs=GCSResource(project="bench"), root=root).store()
    store.check_writable()
    clip = ListedClip(
        clip_uuid=CLIP,
        name="",
        description=None,
        cut=Cut(time_start_ms=0, time_end_ms=1),
        video_uuid=CLIP,
        has_audio=True,
        has_camera=True,
        listed=True,
        first_listed_at=now_utc(),
        listed_at=now_utc(),
    )
    downloader = Downloader(MediaClient(allow_loopback=True, max_bytes=1 << 40), store)
    began = time.perf_counter()
    stored = downloader.store(CLIP, CLIP, clip, SecretStr(url), frozenset())
    took_s = time.perf_counter() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"took_s": took_s, "peak_mib": peak_kib / 1024, "size": stored.size_bytes}))


def ours(url: str, root: str) -> tuple[float, float]:
    """Seconds and peak MiB of our transfer."""
    command = [sys.executable, "-m", "benchmarks.transfer", "--child", url, root]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return answer["took_s"], answer["peak_mib"]


def rclone(url: str, target: str) -> float:
    """Seconds of `rclone copyurl`."""
    binary = str(Path(sys.executable).parent / "rclone")
    began = time.perf_counter()
    subprocess.run([binary, "copyurl", url, target], check=True, capture_output=True)
    return time.perf_counter() - began


def fresh(directory: Path) -> str:
    shutil.rmtree(directory, ignore_errors=True)
    os.sync()  # what the other one left unwritten must not slow this one
    directory.mkdir()
    return str(directory)


def compare(base: str, scratch: Path, megabytes: int, pairs: int) -> None:
    size = megabytes * 1024 * 1024
    times: list[tuple[float, float]] = []
    peaks: list[float] = []
    for _ in range(pairs):
        took, peak = ours(f"{base}/{size}.mp4", fresh(scratch / "ours"))
        peaks.append(peak)
        times.append((took, rclone(f"{base}/{size}.mp4", f"{fresh(scratch / 'rclone')}/clip.mp4")))
    small = ours(f"{base}/{SMALL_BYTES}.mp4", fresh(scratch / "ours"))[1]
    print(f"{megabytes} MiB to a directory, {pairs} pairs, medians")
    print(f"  ours    {megabytes / statistics.median(t for t, _ in times):8.0f} MiB/s")
    print(f"  rclone  {megabytes / statistics.median(t for _, t in times):8.0f} MiB/s")
    print(f"  ours / rclone, pair by pair: {statistics.median(r / o for o, r in times):.2f}")
    print(f"  peak memory over a small clip: {max(peaks) - small:.1f} MiB")


def to_gcs(base: str, megabytes: int) -> None:
    from ut_clips_dagster_tests.gcs_emulator import GcsEmulator

    with GcsEmulator(backend="filesystem") as emulator:
        os.environ.update(emulator.environment)
        root = f"gs://{emulator.create_bucket('bench')}"
        small = ours(f"{base}/{SMALL_BYTES}.mp4", f"{root}/small")[1]
        took, peak = ours(f"{base}/{megabytes * 1024 * 1024}.mp4", f"{root}/large")
    print(f"{megabytes} MiB to GCS (emulated)")
    print(f"  ours    {megabytes / took:8.0f} MiB/s")
    print(f"  peak memory over a small clip: {peak - small:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gcs", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("URL", "ROOT"))
    options = parser.parse_args()
    if options.child:
        transfer(*options.child)
        return
    socketserver.TCPServer.allow_reuse_address = True
    with tempfile.TemporaryDirectory() as scratch:
        Media.source = Path(scratch) / "source"
        with Media.source.open("wb") as file:
            block = os.urandom(1 << 20)
            for _ in range(options.megabytes):
                file.write(block)
        os.sync()
        server = ThreadingHTTPServer(("127.0.0.1", 0), Media)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        compare(base, Path(scratch), options.megabytes, options.pairs)
        if options.gcs:
            to_gcs(base, options.megabytes)
        server.shutdown()


if __name__ == "__main__":
    main()
