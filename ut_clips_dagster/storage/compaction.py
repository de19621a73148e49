"""Which files of a Delta table are merged, so that a run's cost does not grow with the table.

What was merged before is small for a while, and merged again; once it is large enough it stays, until
`SORT_ABOVE_OVERLAP` such files hold the same range of sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

COMPACT_ABOVE_FILES = 60
"""Small files, of a session or some, until they are merged into one."""
SMALL_BYTES = 128 * 1024
COMPACT_TO_BYTES = 1024 * 1024
"""Of files sorted by session: replacing one session's rows reads and rewrites one of them, not the table."""
SORT_ABOVE_OVERLAP = 10
"""Files that hold the same range of sessions, and so are all read to replace one, until everything is sorted anew."""


@dataclass(frozen=True)
class _File:
    """A live file of the table, by the statistics of its sessions."""

    path: str
    size_bytes: int
    first: str
    last: str


def all_files(table: DeltaTable) -> set[str]:
    """Names of the files that hold the table's rows."""
    return {file.path for file in _files(table)}


def files_to_merge(table: DeltaTable) -> set[str]:
    """Names of the files whose rows are to be written anew: none while few are small, else those, or all."""
    files = _files(table)
    small = {file.path for file in files if file.size_bytes < SMALL_BYTES}
    if len(small) <= COMPACT_ABOVE_FILES:
        return set()
    large = [file for file in files if file.path not in small]
    return small if _overlap(large) < SORT_ABOVE_OVERLAP else {file.path for file in files}


def sessions_in(dataset: ds.FileSystemDataset, files: set[str]) -> list[str]:
    """Sessions that have rows in these files of a table."""
    import pyarrow.dataset as ds

    fragments = [fragment for fragment in dataset.get_fragments() if Path(fragment.path).name in files]
    part = ds.FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)
    sessions: list[str] = part.to_table(columns=["session_id"]).column("session_id").unique().to_pylist()
    return sessions


def _files(table: DeltaTable) -> list[_File]:
    actions = pa.table(table.get_add_actions(flatten=True))
    names = ("path", "size_bytes", "min.session_id", "max.session_id")
    columns = [actions[name].to_pylist() if name in actions.column_names else [] for name in names]
    return [_File(path, size, first or "", last or "") for path, size, first, last in zip_longest(*columns)]


def _overlap(files: Sequence[_File]) -> int:
    """The most files that hold one and the same session, as far as their statistics tell."""
    ends = sorted([(file.first, 0) for file in files] + [(file.last, 1) for file in files])
    return max(accumulate((-1 if is_last else 1 for _, is_last in ends), initial=0))
