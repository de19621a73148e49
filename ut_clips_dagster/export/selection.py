"""Which clips an export is of: the stored ones of the view `clips` that a condition names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ut_clips_dagster.archive.records import CLIP_FILES, SESSIONS
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.store import Store

if TYPE_CHECKING:
    import duckdb

ROWS_AT_A_TIME = 1000
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_STEM = f"clips/{_UUID}/({_UUID})/({_UUID})(?:/[0-9]+-[0-9]+)?"
_CLIP, _POSTER = re.compile(rf"{_STEM}\.mp4"), re.compile(rf"{_STEM}\.jpe?g")
STORED = "STORED"


@dataclass(frozen=True)
class Clip:
    """A clip to export; its paths are the same in the archive and in the export."""

    number: int
    """Of its row in the selection."""
    session_id: str
    clip_uuid: str
    path: str
    size_bytes: int
    crc32c: str
    poster_path: str | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"clip {self.clip_uuid} of session {self.session_id}"


def selecting(where: str) -> str:
    """The query that answers with the rows of a selection.

    The condition is applied to stored clips alone, and comes before nothing else that it could comment out.
    """
    stored = f"SELECT * FROM {clips_view.VIEW} WHERE status = '{STORED}'"  # noqa: S608 - names of our own
    condition = f" WHERE {where}" if where.strip() else ""
    columns = ", ".join(clips_view.SCHEMA.names)
    return (
        f"SELECT {columns} FROM (SELECT * FROM ({stored}) AS {clips_view.VIEW}{condition}\n) "  # noqa: S608 - read only
        "ORDER BY session_id, clip_uuid"
    )


def documented_sessions(store: Store) -> set[str]:
    """Sessions whose document of stored files is there: rows alone, of a session that was taken away, count nothing."""
    ending = f"/{CLIP_FILES}.json"
    return {path[len(SESSIONS) : -len(ending)] for path in store.walk(SESSIONS) if path.endswith(ending)}


class Selection:
    """The rows of an export, in a file: read batch by batch, and the same until the export is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clips: list[Clip] = []
        self.left_out: dict[str, str] = {}
        """Clips that cannot be exported, and why."""

    @classmethod
    def take(cls, connection: duckdb.DuckDBPyConnection, where: str, path: Path, documented: set[str]) -> Selection:
        """Ask for the rows and keep them.

        Raises:
            ClipsError: the condition is wrong; DuckDB's own message says where.
        """
        import duckdb

        selection = cls(path)
        number, last = 0, None
        try:
            batches: pa.RecordBatchReader = connection.sql(selecting(where)).to_arrow_reader(ROWS_AT_A_TIME)
            with pq.ParquetWriter(path, clips_view.SCHEMA) as writer:
                for batch in batches:
                    rows = pa.Table.from_batches([batch]).cast(clips_view.SCHEMA)
                    writer.write_table(rows, row_group_size=ROWS_AT_A_TIME)
                    for row in rows.select(_NARROW).to_pylist():
                        key = (row["session_id"], row["clip_uuid"])
                        if key != last and row["status"] == STORED and row["session_id"] in documented:
                            selection._add(number, row)
                        number, last = number + 1, key
        except (duckdb.Error, pa.ArrowException) as error:  # the second: what fails once the answer flows
            raise ClipsError(f"The selection failed: {error}") from None
        return selection

    def _add(self, number: int, row: dict[str, Any]) -> None:
        key, path = (row["session_id"], row["clip_uuid"]), row["storage_path"] or ""
        named = _CLIP.fullmatch(path)
        if named is None or named.groups() != key or row["crc32c"] is None or row["size_bytes"] is None:
            self.left_out[f"clip {key[1]} of session {key[0]}"] = "its row names no file of the archive"
            return
        poster = row["poster_path"]
        pictured = _POSTER.fullmatch(poster or "")
        poster = poster if pictured is not None and pictured.groups() == key else None
        self.clips.append(Clip(number, *key, path, row["size_bytes"], row["crc32c"], poster))

    def without(self, lost: Iterable[Clip]) -> None:
        """Leave clips out from now on."""
        numbers = {clip.number for clip in lost}
        self.clips = [clip for clip in self.clips if clip.number not in numbers]

    def rows(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, dict[str, Any]]]:
        """Clips in the selection's order, each with its row."""
        for wanted, rows in self.batches(clips):
            yield from zip(wanted, rows.to_pylist(), strict=True)

    def batches(self, clips: Sequence[Clip]) -> Iterator[tuple[list[Clip], pa.Table]]:
        """The same, some at a time."""
        with pq.ParquetFile(self._path) as file:
            at, begin = 0, 0
            for group in range(file.num_row_groups):
                end = begin + file.metadata.row_group(group).num_rows
                wanted = []
                while at < len(clips) and clips[at].number < end:
                    wanted.append(clips[at])
                    at += 1
                if wanted:
                    yield wanted, file.read_row_group(group).take([clip.number - begin for clip in wanted])
                begin = end


_NARROW = ["session_id", "clip_uuid", "status", "storage_path", "size_bytes", "crc32c", "poster_path"]
