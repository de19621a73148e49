"""A Delta table of the archive: rows that name their session, replaced session by session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pyarrow as pa
import tenacity
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from filelock import FileLock

from ut_clips_dagster.errors import StorageError, TableConflictError
from ut_clips_dagster.storage.columns import checked, to_pandas
from ut_clips_dagster.storage.compaction import COMPACT_TO_BYTES, all_files, files_to_merge, sessions_in
from ut_clips_dagster.storage.delta_failures import reason
from ut_clips_dagster.storage.delta_options import storage_options
from ut_clips_dagster.storage.links import LOCK, refuses_links

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and not needed by `ut-clips sql`
    import pyarrow.dataset as ds
    from typing_extensions import Self

MAX_COMMIT_ATTEMPTS = 30
"""Of eight writers one lost twelve in a row where a commit took seconds (S3, measured)."""
MAX_COMMIT_WAIT_S = 4.0
STATISTICS = "delta.dataSkippingStatsColumns"
ALL_ROWS = "true"
"""Predicate of an overwrite. With one it conflicts with every commit since; without, two to an empty table do not."""
ResultT = TypeVar("ResultT")


class _RowsChangedError(Exception):
    """What was committed is no longer true."""


class SessionTable:
    """Reads and writes one table, in a directory or in a bucket; safe for several writers at a time.

    A subclass names the table and its schema, whose first column is `session_id`.
    Every method raises StorageError when the table cannot be read or written.
    """

    name: ClassVar[str]
    """Its directory below the archive's root."""
    schema: ClassVar[pa.Schema]
    statistics: ClassVar[tuple[str, ...]] = ("session_id", "clip_uuid")
    """Columns whose smallest and largest values Delta's log tells: of the others, names and words would be kept there
    in plain text, also after their rows are gone."""

    def __init__(self, archive_uri: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.uri = f"{archive_uri}/{self.name}"
        self._sleep = sleep
        self._options = storage_options(archive_uri)

    @classmethod
    def of_archive(cls, root: str) -> Self:
        """The table of the archive that UT_CLIPS_ARCHIVE names."""
        return cls(root if "://" in root else str(Path(root).absolute()))

    def replace(self, session_id: str, rows: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
        """Put these rows in place of all rows of the session, in one commit.

        Writers conflict when they rewrite the same file; a commit that lost is tried anew, with jitter.

        Args:
            session_id: the session.
            rows: its rows; or what makes them, from what other writers change, too. Then they are made anew for each
                attempt, and once more after the commit: whoever commits last leaves what is true by then.

        Raises:
            TableConflictError: it lost `MAX_COMMIT_ATTEMPTS` times, or as often other rows were true after the commit.
        """
        self._commit(
            lambda: self._replace_once(session_id, rows),
            f"the rows of session {session_id} are not written yet. "
            "Its documents are; it is tried again by the sensors.",
        )

    def rewrite(self, rows: pd.DataFrame | pa.Table | Callable[[], pd.DataFrame]) -> None:
        """Put these rows in place of all there are, in one commit that reads none of them: for what cannot be read.

        A directory whose log is damaged is first moved aside, as `<table>.damaged-<time>`.

        Args:
            rows: all rows; or what makes them, anew for each attempt: no commit is lost that came meanwhile.

        Raises:
            TableConflictError: others committed meanwhile, `MAX_COMMIT_ATTEMPTS` times.
            StorageError: it cannot be written; in a bucket a damaged log has to be moved aside by a person.
        """
        try:
            self._open()
        except StorageError as error:
            directory = Path(self.uri)
            if not directory.is_dir():
                raise StorageError(f"{error} Move {self.uri} aside; then `ut-clips repair` writes it anew.") from error
            rows = self._as_arrow(rows)  # first: nobody can commit to it, and nobody is to see an empty one
            directory.rename(f"{directory}.damaged-{time.time_ns()}")
        written = rows
        self._overwrite(lambda _: self._as_arrow(written))

    def change(self, change: Callable[[pa.Table], pa.Table | None]) -> pa.Table:
        """Put what is made of all rows in their place, in one commit, and return the rows that it left.

        Args:
            change: makes the new rows of the present ones, or None: nothing is written. It is asked anew for each
                attempt, so that no other writer's commit is undone.

        Raises:
            TableConflictError: others committed meanwhile, `MAX_COMMIT_ATTEMPTS` times.
        """
        return self._all_rows(self._overwrite(lambda table: change(self._all_rows(table))))

    def read(self, session_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of these sessions (all when None) as a DataFrame with nullable dtypes."""
        return to_pandas(self.columns(session_ids, columns or self.schema.names))

    def columns(
        self, session_ids: Sequence[str] | None, names: Sequence[str], where: ds.Expression | None = None
    ) -> pa.Table:
        """The same as an Arrow table: of hundreds of thousands of rows quicker than as a DataFrame.

        Args:
            session_ids: whose rows; of all sessions when None.
            names: of the columns.
            where: what else the rows meet.
        """
        table = self.arrow()
        if table is None:
            return self.schema.empty_table().select(list(names))
        if session_ids is not None:
            import pyarrow.dataset as ds

            of_sessions = ds.field("session_id").isin(pa.array(session_ids, pa.string()))
            where = of_sessions if where is None else where & of_sessions
        return self.fetch_arrow(table, where, names)

    def arrow(self) -> ds.Dataset | None:
        """The table as an Arrow dataset, for queries; None when nothing was written yet."""
        table = self._open()
        return None if table is None else self._dataset(table)

    def open(self) -> DeltaTable | None:
        """The Delta table as it is now, for what reads it by other means; None when nothing was written yet."""
        return self._open()

    def files(self) -> list[str] | None:
        """The Parquet files that hold the rows; None when nothing was written yet."""
        table = self._open()
        return None if table is None else table.file_uris()

    def compact(self) -> bool:
        """Merge small files into one when there are many, and now and then sort all rows anew; True when it did.

        Losing against another writer is no failure: the next run compacts. Not by `optimize`: two of those at a time do
        not conflict in delta-rs (1.6.6), and leave every row twice. An overwrite of what was read does conflict.
        """
        table = self._open()
        if table is None:
            return False
        tells_all = self._tells_all(table)  # its log is rid of them when all files are written anew, and 30 days passed
        files = all_files(table) if tells_all else files_to_merge(table)
        if not files:
            return False
        try:
            with self._committing():
                self._merge(self._writable() if tells_all else table, files)
        except CommitFailedError:
            return False
        except (DeltaError, pa.ArrowException, OSError) as error:
            raise self._error("compact", error) from error
        return True

    def _merge(self, table: DeltaTable, files: set[str]) -> None:
        import pyarrow.dataset as ds

        dataset = table.to_pyarrow_dataset(schema=self.schema)
        condition, predicate = None, "session_id is not null"  # a predicate makes it a reader, too
        if files != all_files(table):
            sessions = sessions_in(dataset, files)
            condition = ds.field("session_id").isin(pa.array(sessions, pa.string()))
            predicate = f"session_id in ({', '.join(map(_quoted, sessions))})"
        write_deltalake(
            table,
            checked(dataset.to_table(filter=condition)).sort_by("session_id"),
            mode="overwrite",
            predicate=predicate,
            target_file_size=COMPACT_TO_BYTES,
            **self._write_options(),
        )
        table = DeltaTable(self.uri, storage_options=self._options)
        table.vacuum(dry_run=False)
        table.create_checkpoint()

    def fetch_arrow(
        self, table: ds.Dataset, condition: ds.Expression | None, columns: Sequence[str] | None
    ) -> pa.Table:
        """The rows of a dataset that meet a condition (all when None), whose texts are known to be right."""
        try:
            return checked(table.to_table(filter=condition, columns=list(columns) if columns else None))
        except (pa.ArrowException, OSError) as error:  # a data file that is gone or damaged shows only here
            raise self._error("read", error) from error

    def _replace_once(self, session_id: str, rows: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
        # Always an overwrite of what was read, never an append: two appends do not conflict, and would double the rows
        with self._committing():
            table = self._open() or self._create()
            written = self._as_arrow(rows)
            write_deltalake(
                table,
                written,
                mode="overwrite",
                predicate=f"session_id = {_quoted(session_id)}",
                **self._write_options(),
            )
        if callable(rows) and not self._as_arrow(rows).equals(written):
            raise _RowsChangedError  # another writer's commit may have come before ours, with newer rows than these

    def _overwrite(self, made: Callable[[DeltaTable], pa.Table | None]) -> DeltaTable:
        """Put what is made of the newest version in place of all its rows; returns the version that holds them."""

        def once() -> DeltaTable:
            with self._committing():
                table = self._writable()
                rows = made(table)
                if rows is not None:
                    write_deltalake(table, rows, mode="overwrite", predicate=ALL_ROWS, **self._write_options())
                return table

        return self._commit(once, "nothing was written. Stop them, or do it again later.")

    def _commit(self, attempt: Callable[[], ResultT], lost: str) -> ResultT:
        """Try a commit until no other writer comes first; what is lost when one always does is told."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((CommitFailedError, _RowsChangedError)),
            stop=tenacity.stop_after_attempt(MAX_COMMIT_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=MAX_COMMIT_WAIT_S),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except (CommitFailedError, _RowsChangedError):
            raise TableConflictError(f"Other runs kept changing {self.uri}: {lost}") from None
        except (DeltaError, OSError) as error:
            raise self._error("write", error) from error

    def _all_rows(self, table: DeltaTable) -> pa.Table:
        return self.fetch_arrow(self._dataset(table), None, None)

    def _dataset(self, table: DeltaTable) -> ds.Dataset:
        try:
            return table.to_pyarrow_dataset(schema=self.schema)
        except (DeltaError, OSError) as error:
            raise self._error("read", error) from error

    def _as_arrow(self, rows: pd.DataFrame | pa.Table | Callable[[], pd.DataFrame]) -> pa.Table:
        frame = rows() if callable(rows) else rows
        if isinstance(frame, pa.Table):
            return frame
        return pa.Table.from_pandas(frame, schema=self.schema, preserve_index=False)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Where hard links are refused, delta-rs cannot give a commit's name without overwriting: a lock is held."""
        directory = Path(self.uri)
        if "://" not in self.uri:
            directory.mkdir(parents=True, exist_ok=True)
        if "://" in self.uri or not refuses_links(directory):
            yield
            return
        self._options = {"allow_unsafe_rename": "true"}
        with FileLock(directory / LOCK):
            yield

    def _writable(self) -> DeltaTable:
        """The table, created if need be; one of before gets the property that keeps texts out of its log."""
        table = self._open() or self._create()
        if self._tells_all(table):
            table.alter.set_table_properties({STATISTICS: ",".join(self.statistics)})
            table.update_incremental()
        return table

    def _tells_all(self, table: DeltaTable) -> bool:
        """Whether the log tells values of other columns, too: the table was made before that was settled."""
        return table.metadata().configuration.get(STATISTICS) != ",".join(self.statistics)

    def _create(self) -> DeltaTable:
        """An empty table; where another run creates it at the same moment, that one."""
        try:
            return DeltaTable.create(
                self.uri,
                DeltaSchema.from_arrow(self.schema),
                configuration={STATISTICS: ",".join(self.statistics)},
                storage_options=self._options,
            )
        except DeltaError:
            if (table := self._open()) is None:
                raise
            return table

    def _write_options(self) -> dict[str, Any]:
        return {"storage_options": self._options, "writer_properties": WriterProperties(compression="ZSTD")}

    def _open(self) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri, storage_options=self._options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise self._error("read", error) from error

    def _error(self, what: str, error: Exception) -> StorageError:
        return StorageError(f"Cannot {what} the table {self.uri}: {reason(error)}. Check UT_CLIPS_ARCHIVE.")


def found_table(archive_uri: str, name: str) -> SessionTable | None:
    """A table of an archive as it is there, whichever it is; None when there is none."""
    options = storage_options(archive_uri)
    try:
        there = DeltaTable(f"{archive_uri}/{name}", storage_options=options)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        told = f"Cannot read the table {archive_uri}/{name}: {reason(error)}. Run `ut-clips repair`."
        raise StorageError(told) from error
    told = there.metadata().configuration.get(STATISTICS, "")
    members = {
        "name": name,
        "schema": pa.schema(there.schema()),
        "statistics": tuple(told.split(",")) if told else SessionTable.statistics,
    }
    kind: type[SessionTable] = type("FoundTable", (SessionTable,), members)
    return kind(archive_uri)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
