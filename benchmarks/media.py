"""What it costs to look at clips: CPU, memory and bytes of one, and catching up an archive that has none of it yet.

    .venv/bin/python -m benchmarks.media [--clips 20] [--catch-up 1000] [--sessions 100000]

The last: tables and partitions of so many sessions, and none of their files, documents and events: what the sensors of
all that follows on clips ask the tables, and their ticks by Dagster's own daemon code. 0 leaves a part out.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa

from benchmarks.daemon import daemon
from benchmarks.large_archive import ROOT, Place, add_sessions, make_place, run_job
from benchmarks.scale import TIME_SCALE, row
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import archive_resource, build_definitions, follow_ons
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.sensors.follow_on import Cursor
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable

SECONDS, FPS, WIDTH, HEIGHT = 30, 30, 1280, 720
RESTING = Cursor(
    events={"clip_files": 10**9}, position=None, looked_at=datetime(2100, 1, 1, tzinfo=timezone.utc)
).model_dump_json()


def screen_recording() -> bytes:
    """30 s of 720p with texture that scrolls, about 4 Mbit/s, and its index in front."""
    dice = np.random.default_rng(0)
    page = np.kron(dice.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            video: Any = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "28"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            video.codec_context.gop_size = 2 * FPS
            for number in range(SECONDS * FPS):
                picture = np.ascontiguousarray(np.roll(page, number, axis=0))
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(video.encode(None))
        return path.read_bytes()


def status_of(pid: int) -> tuple[float, float]:
    """CPU seconds and peak MiB of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / 100, int(peak.split()[1]) / 1024


def one_clip(number: int) -> None:
    data, read = screen_recording(), []

    def read_range(start: int, length: int) -> bytes:
        read.append(length)
        return data[start : start + length]

    with Prober() as prober:
        begun = time.monotonic()
        prober.look(len(data), read_range)
        first_s = time.monotonic() - begun
        pid, times = prober._started().process.pid, []  # noqa: SLF001
        before, read[:] = status_of(pid)[0], []
        for _ in range(number):
            begun = time.monotonic()
            looked = prober.look(len(data), read_range)
            times.append(time.monotonic() - begun)
        cpu, peak = status_of(pid)
    assert looked.poster
    each = (cpu - before) / number
    row(f"30 s of 720p ({len(data) / 1e6:.1f} MB): CPU of the worker", "<= 0.15 s", f"{each:.3f} s", met=each <= 0.15)
    row("  time, median", "", f"{statistics.median(times):.3f} s")
    row("  the first, with the worker's start", "", f"{first_s:.2f} s")
    row("  peak memory of the worker", "<= 64 MiB", f"{peak:.0f} MiB", met=peak <= 64)
    figure = f"{sum(read) / number / 1e6:.2f} MB in {len(read) / number:.0f} ranges"
    row("  read of it", "not whole", figure, met=sum(read) / number < len(data) / 2)
    row("  poster", "<= 20 kB", f"{len(looked.poster):,} bytes", met=len(looked.poster) <= 20_000)


def catch_up(clips: int) -> None:
    """An archive without media facts: one run over all of it, as `ut-clips archive` does."""
    config = SimulatorConfig(sessions=0, time_scale=TIME_SCALE, rate_limit=10**9, generation_s=5, link_ttl_s=10**6)
    with tempfile.TemporaryDirectory() as scratch, SimulatorServer(config) as server:
        place = make_place(Path(scratch) / "place", server, TIME_SCALE)
        keys = add_sessions(place, server, clips // 4, 4)
        run_job(place, keys)
        cpu_s = time.process_time()
        seconds = run_media(place, keys)
        cpu_s = time.process_time() - cpu_s
    row(f"catching up {clips:,} clips of {clips // 4} sessions", "", f"{seconds:.1f} s")
    figure = f"{1000 * seconds / clips:.0f} s, {1000 * cpu_s / clips:.0f} s of CPU beside the worker"
    row("  per 1,000 clips", "", figure)


def run_media(place: Place, keys: list[str]) -> float:
    with place.entered() as (instance, settings):
        job = build_definitions(settings).resolve_job_def("make_clip_media")
        span = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        begun = time.monotonic()
        if not job.execute_in_process(instance=instance, tags=span, run_config=QUIET).success:
            raise SystemExit("The run failed.")
        return time.monotonic() - begun


def many_sessions(sessions: int) -> None:
    """The sensors' ticks and what they ask the tables, with so many archived sessions of three clips each."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(Path(scratch), environment(Path(scratch)))
        place.home.mkdir()
        shutil.copy(ROOT / "dagster.yaml", place.home)
        keys = [str(uuid.uuid4()) for _ in range(sessions)]
        write_tables(str(place.archive), keys)
        with place.entered() as (instance, settings):
            instance.add_dynamic_partitions(SESSIONS, keys)
            archive = archive_resource(settings)
            for follow_on in follow_ons(settings):
                times = []
                for _ in range(3):
                    begun = time.process_time()
                    lacking = len(follow_on.lacking(archive, None))
                    times.append(time.process_time() - begun)
                figure = f"{lacking:,} in {times[0]:.2f} s, then {min(times):.2f} s of CPU"
                row(f"what all sessions lack of {follow_on.name}", "< 1.5 s", figure, met=times[0] < 1.5)
            with daemon(instance) as it:
                for follow_on in follow_ons(settings):
                    it.tick(follow_on.sensor_name, None)  # the code server imports, and learns of the partitions
                    for what, cursor in (("catching up", Cursor().model_dump_json()), ("nothing new", RESTING)):
                        tick = it.tick(follow_on.sensor_name, cursor)
                        figure = f"{tick.seconds:.2f} s, {tick.runs} runs"
                        row(f"tick of {follow_on.sensor_name}, {what}", "< 5 s", figure, met=tick.seconds < 5)


def write_tables(archive: str, keys: list[str]) -> None:
    """Three stored clips of each session, two of them cut from its transcript; nobody looked at their files yet."""
    sessions = pa.array(keys).take(pa.array(np.repeat(np.arange(len(keys)), 3)))
    paths = pa.array([f"clips/study/{key}/{number}.mp4" for key in keys for number in range(3)])
    stored = {"session_id": sessions, "status": pa.repeat("STORED", len(paths)), "storage_path": paths}
    MetadataTable(archive).rewrite(_filled(MetadataTable, len(paths), stored))
    cut = pa.ListArray.from_arrays(np.arange(0, 2 * len(keys) + 1, 2, dtype=np.int32), paths.filter(two_of_three(keys)))
    half = len(keys) // 2  # the others were not asked for theirs
    asked = {"session_id": pa.array(keys), "status": pa.repeat("STORED", len(keys)), "clips_cut": cut}
    SessionTranscriptsTable(archive).rewrite(_filled(SessionTranscriptsTable, len(keys), asked)[:half])


def two_of_three(keys: list[str]) -> pa.BooleanArray:
    return pa.array(np.tile([True, True, False], len(keys)))


def _filled(table: type[SessionTable], number: int, values: Mapping[str, pa.Array]) -> pa.Table:
    """Rows of the table's schema; null where nothing is given."""
    columns = [values.get(field.name, pa.nulls(number, field.type)) for field in table.schema]
    return pa.table(columns, schema=table.schema)


def environment(root: Path) -> dict[str, str]:
    return {
        "USERTESTING_API_URL": "http://127.0.0.1:1",
        "USERTESTING_TOKEN_URL": "http://127.0.0.1:1/token",
        "USERTESTING_CLIENT_ID": "demo",
        "USERTESTING_CLIENT_SECRET": "demo",
        "USERTESTING_TEST_IDS": "00000000-0000-4000-8000-000000000000",
        "UT_CLIPS_ARCHIVE": str(root / "archive"),
        "DAGSTER_HOME": str(root / "home"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--catch-up", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=100_000)
    options = parser.parse_args()
    if options.clips:
        one_clip(options.clips)
    if options.catch_up:
        catch_up(options.catch_up)
    if options.sessions:
        many_sessions(options.sessions)


if __name__ == "__main__":
    main()
