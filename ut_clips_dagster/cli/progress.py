"""Progress of a running pipeline, with Rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ut_clips_dagster.archive.progress import Progress as Counts
from ut_clips_dagster.archive.progress import watched_by
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import console


@contextmanager
def watching(sessions: int) -> Iterator[None]:
    """Show sessions, clips and requests while pipelines run in this process."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        session_bar = progress.add_task("Sessions", total=sessions, note="")
        clip_bar = progress.add_task("Clips", total=None, note="")

        def show(counts: Counts) -> None:
            waiting = f", next in {counts.waiting_s:.0f} s" if counts.waiting_s >= 1 else ""
            note = f"{counts.sessions_unfinished} unfinished" if counts.sessions_unfinished else ""
            progress.update(session_bar, completed=counts.sessions_done, total=counts.sessions, note=note)
            progress.update(
                clip_bar,
                completed=counts.clips_stored,
                total=counts.clips or None,
                note=f"{counts.bytes_stored / 1e6:,.1f} MB, {counted(counts.requests, 'request')}{waiting}",
            )

        with watched_by(show):
            yield
