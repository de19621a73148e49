"""`ut-clips demo`: simulator, Dagster and the archive they fill, in one command."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.table import Table

from ut_clips_dagster.archive.records import SESSIONS, SessionRecords
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import cell, console
from ut_clips_dagster.cli.platform import INSTANCE_CONFIG
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.gallery.server import GalleryServer
from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable

HOME = Path(".demo")
TIME_SCALE = 20.0
"""An hour passes in three minutes; the budget of ten requests a minute is ten in three seconds."""
SESSION_EVERY_S = 600.0
"""A new session every ten simulated minutes: every half minute."""
POLL_INTERVAL_S = 3.0 / TIME_SCALE
DISCOVERY_INTERVAL_S = 5
GIVE_UP_AFTER_S = 300.0
LOOK_EVERY_S = 1.0
END_WITHIN_S = 15.0
"""What Dagster has to end by itself in; then it is killed."""
QUERY = "select * from clip_metadata"


def run_demo(*, exit_when_done: bool, port: int) -> bool:
    """Run until interrupted or terminated, or until all is archived.

    Returns:
        Whether it ended because all is archived.

    Raises:
        ClipsError: Dagster ended by itself, or the demo took longer than it may.
    """
    signals: list[int] = []  # only kept: an exception in the wrong moment would leave Dagster running
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    home = HOME.absolute()
    shutil.rmtree(home, ignore_errors=True)
    (home / "dagster").mkdir(parents=True)
    shutil.copy(INSTANCE_CONFIG, home / "dagster")
    config = SimulatorConfig(time_scale=TIME_SCALE, appear_every_s=None if exit_when_done else SESSION_EVERY_S)
    port = free_port(port)
    gallery = _gallery(home)
    with SimulatorServer(config) as simulator, gallery, _dagster(simulator, home, port, gallery.url) as dagster:
        console.print(f"Dagster UI: [link]http://127.0.0.1:{port}[/link]  (simulated Results API: {simulator.url})")
        console.print(f"Gallery: {gallery.address}", markup=False, highlight=False, soft_wrap=True)
        console.print("Sessions are found by the new_sessions sensor within seconds of Dagster's start.")
        done = _watch(simulator, home, dagster, signals, exit_when_done=exit_when_done)
    table = MetadataTable(str(home / "archive"))
    _print_table(table)
    console.print(f"The archive is in {HOME}/archive. Query it:")
    console.print(f"  UT_CLIPS_ARCHIVE={HOME}/archive .venv/bin/ut-clips sql '{QUERY}'", soft_wrap=True)
    return done


def _gallery(home: Path) -> GalleryServer:
    """A gallery of the archive that is being filled."""
    return GalleryServer(LocalStore(home / "archive"), home / "gallery")


@contextmanager
def _dagster(
    simulator: SimulatorServer, home: Path, port: int, gallery_url: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Webserver and daemon, whose output goes to a file; all their processes end with the block."""
    command = [sys.executable, "-m", "dagster", "dev", "-m", "ut_clips_dagster.definitions", "-h", "127.0.0.1"]
    with (home / "dagster.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - arguments of ours only
            [*command, "-p", str(port)],
            env=environment(simulator, home, gallery_url),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def environment(simulator: SimulatorServer, home: Path, gallery_url: str = "") -> dict[str, str]:
    """The settings of everything that works with the demo's simulator, archive and instance."""
    return {
        **os.environ,
        **simulator.environment,
        "UT_CLIPS_ARCHIVE": str(home / "archive"),
        "UT_CLIPS_GALLERY_URL": gallery_url,
        "UT_CLIPS_POLL_INTERVAL_S": str(POLL_INTERVAL_S),
        "UT_CLIPS_POLL_MAX_ATTEMPTS": "10",
        "UT_CLIPS_BATCH_SIZE": "10",
        "UT_CLIPS_DISCOVERY_INTERVAL_S": str(DISCOVERY_INTERVAL_S),
        "UT_CLIPS_ACCOUNT": " ",  # none, whatever .env says; of what is empty pydantic would ask .env
        "UT_CLIPS_KEY_PREFIX": " ",
        "DAGSTER_HOME": str(home / "dagster"),
        "no_proxy": "127.0.0.1,localhost",  # all it talks to; it outranks a person's own NO_PROXY
    }


def _watch(
    simulator: SimulatorServer,
    home: Path,
    dagster: subprocess.Popen[bytes],
    signals: list[int],
    *,
    exit_when_done: bool,
) -> bool:
    """Tell what is archived; True once all is, False at the first signal."""
    give_up_at = time.monotonic() + GIVE_UP_AFTER_S
    records = SessionRecords(LocalStore(home / "archive"))
    complete: set[str] = set()
    with console.status("Dagster is starting") as status:
        while not signals:
            sessions = {session.session_id for session in simulator.world.sessions()}
            for session_id in sorted(sessions - complete):
                if records.read(session_id).is_complete:
                    complete.add(session_id)
                    console.print(f"Session {session_id} archived ({len(complete)} of {len(sessions)})")
            found = sum(1 for s in sessions if (home / "archive" / SESSIONS / s).exists())
            status.update(
                f"{counted(len(sessions), 'session')} at UserTesting, {found} found, {len(complete)} archived"
            )
            if exit_when_done and complete == sessions and _shown(home, sessions):
                return True
            if dagster.poll() is not None:
                raise ClipsError(f"Dagster ended by itself; its output is in {HOME}/dagster.log.")
            if exit_when_done and time.monotonic() > give_up_at:
                raise ClipsError(f"Not all sessions were archived in {GIVE_UP_AFTER_S:.0f} s; see {HOME}/dagster.log.")
            time.sleep(LOOK_EVERY_S)
    return False


def _shown(home: Path, sessions: set[str]) -> bool:
    """Whether Dagster shows every session's clip_metadata as materialized, and then the facts and posters of all."""
    from dagster import DagsterInstance

    from ut_clips_dagster.definitions import archive_resource, follow_ons
    from ut_clips_dagster.known_sessions import CLIP_METADATA, materialized_sessions
    from ut_clips_dagster.settings import placeholder_settings

    told = {"archive": str(home / "archive"), "transcripts": False}  # they leave the budget to clips, and take minutes
    settings = placeholder_settings().model_copy(update=told)
    archive = archive_resource(settings)
    with DagsterInstance.from_config(str(home / "dagster")) as instance:
        if not sessions <= materialized_sessions(instance, CLIP_METADATA):
            return False
        return not any(follow_on.due(instance, archive, None) for follow_on in follow_ons(settings))


def _print_table(table: MetadataTable) -> None:
    rows = table.read(columns=["session_id", "clip_name", "status", "size_bytes"])
    shown = Table(title=f"clip_metadata: {counted(len(rows), 'clip')}")
    shown.add_column("session", no_wrap=True, min_width=8)
    shown.add_column("clip", no_wrap=True, overflow="ellipsis", ratio=1)
    shown.add_column("status", no_wrap=True, min_width=6)
    shown.add_column("bytes", no_wrap=True, min_width=5, justify="right")
    for row in rows.sort_values(["session_id", "clip_name"]).itertuples(index=False):
        shown.add_row(cell(row.session_id[:8]), cell(row.clip_name), cell(row.status), cell(row.size_bytes))
    console.print(shown)


def free_port(wanted: int) -> int:
    """This port, or another one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ClipsError("No port is free for the Dagster UI.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Dagster and all it started: kindly, then not."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_WITHIN_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
