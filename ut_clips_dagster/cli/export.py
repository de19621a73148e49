"""`ut-clips export`: a selection of clips as a data set, or as a page to hand to somebody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ut_clips_dagster.cli.console import console, errors, say
from ut_clips_dagster.cli.platform import expanded, store_of
from ut_clips_dagster.cli.read_only import check_not_unmounted
from ut_clips_dagster.cli.sql_engine import connected
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.export.report import MB, Order, Report
from ut_clips_dagster.export.selection import selecting
from ut_clips_dagster.export.work import export
from ut_clips_dagster.settings import load_settings

TELL_EVERY_S = 0.1
TOLD = 20
"""Clips left out that are named; of more only the number is told."""


def export_clips(target: str, kind: str, *, where: str, link: bool, shard_mb: int) -> bool:
    """Export, and tell what came of it; True if every selected clip is in it.

    Raises:
        ClipsError: it could not be made; what is there is kept, and the next one goes on.
    """
    if "://" in target:
        raise SettingsError(f"{target} is no directory: export into one, and upload it with a tool of the bucket's.")
    order = Order(expanded("TARGET", target).absolute(), where, link, shard_mb * MB)
    settings = load_settings(api=False)
    check_not_unmounted(settings)  # else what was exported would be taken out
    store = store_of(settings.archive)
    with connected(store.uri, selecting(where)) as connection, _shown() as begin:
        report = export(connection, store, kind, order, begin)
    _tell(report, order)
    return not report.left_out


def _tell(report: Report, order: Order) -> None:
    for number, (clip, problem) in enumerate(report.left_out.items()):
        if number == TOLD:
            say(f"and {len(report.left_out) - TOLD:,} more", to=errors)
            break
        say(f"Left out: {clip}: {problem}.", to=errors)
    if report.left_out:
        say(
            "`ut-clips verify --read-data` shows what is wrong in the archive, and `ut-clips repair` mends it.",
            to=errors,
        )
    if not report.clips:
        say(f"No stored clip is selected{' by --where' if order.where else ''}.", to=errors)
    say(
        f"{report.clips:,} clips of {report.sessions:,} sessions, {report.size_bytes / MB:,.1f} MB, in {order.target}: "
        f"{report.copied:,} written now, {report.clips - report.copied:,} were there; {report.removed:,} files removed."
    )


@contextmanager
def _shown() -> Iterator[Callable[[int, int], Callable[[int, int], None]]]:
    """A bar of bytes, and the number of clips, from when it is known how many there are."""
    columns = (TextColumn("Clips {task.fields[clips]:,} of {task.fields[all]:,}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:

        def begin(clips: int, size_bytes: int) -> Callable[[int, int], None]:
            task = progress.add_task("", total=size_bytes, clips=0, all=clips)
            lock, done = threading.Lock(), [0, 0, 0.0]

            def tell(more_clips: int, more_bytes: int) -> None:
                with lock:  # of several threads; the bar is drawn ten times a second, however small the clips
                    done[0] += more_clips
                    done[1] += more_bytes
                    if time.monotonic() - done[2] < TELL_EVERY_S:
                        return
                    done[2] = time.monotonic()
                    progress.update(task, completed=done[1], clips=done[0])

            return tell

        yield begin
