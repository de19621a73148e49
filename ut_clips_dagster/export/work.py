"""An export from its order to its report, whatever its format."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.export.copying import Carrier, Copier, Progress, total_bytes
from ut_clips_dagster.export.page import write_page
from ut_clips_dagster.export.report import Order, Report
from ut_clips_dagster.export.selection import Clip, Selection, documented_sessions
from ut_clips_dagster.export.target import Target
from ut_clips_dagster.export.videofolder import write_videofolder
from ut_clips_dagster.export.webdataset import write_webdataset
from ut_clips_dagster.storage.store import Store

if TYPE_CHECKING:
    import duckdb

SELECTED = "selection.parquet"


class Work:
    """What all formats share while an export is made."""

    def __init__(self, store: Store, target: Target, selection: Selection, order: Order, progress: Progress) -> None:
        self.target = target
        self.selection = selection
        self.order = order
        self.carrier = Carrier(store, progress)
        self.removed = 0
        self.copied: set[Clip] = set()

    def retire(self, wanted: AbstractSet[str], before: Collection[str]) -> None:
        """Remove what is not wanted any more.

        Args:
            wanted: all files that the export will have.
            before: files that tell of others, among those: they go first, and are written again at the end.
        """
        others = self.target.others_than(wanted)
        if others:
            self.target.remove(before)
            self.removed += self.target.remove(others)

    def settle(self, copier: Copier) -> None:
        """What became of the clips: those that could not be carried over are left out."""
        self.copied |= copier.copied
        self.leave_out(copier.problems)
        gone = self.gone()
        self.selection.without(gone)
        lost = [*copier.problems, *gone]
        self.removed += self.target.remove([path for clip in lost for path in (clip.path, clip.poster_path) if path])

    def leave_out(self, problems: Mapping[Clip, str]) -> None:
        """Clips that cannot be exported, and why."""
        self.selection.left_out.update({clip.name: problem for clip, problem in problems.items()})
        self.selection.without(problems)

    def gone(self) -> list[Clip]:
        """Clips of sessions that were taken out of the archive meanwhile."""
        documented = documented_sessions(self.carrier.store)
        return [clip for clip in self.selection.clips if clip.session_id not in documented]


FORMATS: dict[str, Callable[[Work], None]] = {
    "videofolder": write_videofolder,
    "webdataset": write_webdataset,
    "page": write_page,
}


def export(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    kind: str,
    order: Order,
    begin: Callable[[int, int], Progress],
) -> Report:
    """Make an export, or bring the one that is there up to date.

    Args:
        connection: to the archive's tables and the view `clips`.
        store: the archive.
        kind: one of `FORMATS`.
        order: what is wanted.
        begin: is told how many clips and bytes there are to do; what it answers is told what is done.

    Raises:
        ClipsError: it could not be made; what is there is kept, and the next export into it goes on.
    """
    _check(store, order, kind)
    with Target.opened(order.target, kind) as target:
        selection = Selection.take(connection, order.where, target.home / SELECTED, documented_sessions(store))
        try:
            _check_space(order, target, selection)
            progress = begin(len(selection.clips), total_bytes(selection.clips))
            work = Work(store, target, selection, order, progress)
            FORMATS[kind](work)
            target.tidy()
        finally:
            (target.home / SELECTED).unlink(missing_ok=True)
    clips = selection.clips
    sessions, copied = len({clip.session_id for clip in clips}), len(work.copied.intersection(clips))
    return Report(len(clips), sessions, total_bytes(clips), copied, work.removed, selection.left_out)


def _check(store: Store, order: Order, kind: str) -> None:
    in_bucket = "://" in store.uri
    if not in_bucket:
        archive, target = Path(store.uri).resolve(), order.target.resolve()
        if archive in (target, *target.parents) or target in archive.parents:
            raise SettingsError(f"{order.target} is in the archive, or around it: name a directory elsewhere.")
    if order.link and (in_bucket or kind == "webdataset"):
        raise SettingsError(
            "--link needs an archive in a directory, and a format that keeps clips as files. Leave it out."
        )


def _check_space(order: Order, target: Target, selection: Selection) -> None:
    if order.link:
        return
    held = sum(written.size_bytes for written in target.whole().values())
    needed, free = total_bytes(selection.clips) - held, shutil.disk_usage(target.root).free
    if needed > free:
        raise SettingsError(
            f"{len(selection.clips):,} clips need {needed:,} bytes more, and {target.root} has {free:,} free. "
            "Nothing was copied; narrow the selection, or name a directory elsewhere."
        )
