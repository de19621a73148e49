"""What is made of a session's stored clips and lies beside them, as `verify` and `repair` see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.verification import Difference
from ut_clips_dagster.storage.session_table import SessionTable


@dataclass
class Checked:
    """What a check of one session found."""

    differences: list[Difference] = field(default_factory=list)
    recorded: set[str] = field(default_factory=set)
    """Objects below `clips/` that the session's document names."""


@dataclass
class Mended:
    """What a repair of one session did, and what it could not do; both in words."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Companion(Protocol):
    """One kind of it: a document for each session, objects beside its clips, and rows in a table.

    What is not made yet is no difference: its own asset makes it. What is recorded has to be there, and the rows have
    to be those that the documents make.
    """

    @property
    def table(self) -> SessionTable:
        """Its table."""

    def rows(self, session_id: str) -> pd.DataFrame:
        """The session's rows as its documents make them; none where the document is damaged.

        Raises:
            StorageError: the archive cannot be read.
        """

    def check(self, record: SessionRecord, found: pd.DataFrame | None, *, read_data: bool) -> Checked:
        """Compare document, objects and rows of a session with each other. Changes nothing.

        Args:
            record: the session's other documents.
            found: its rows; None when the table cannot be read, which is a difference of its own.
            read_data: read every byte of the objects.
        """

    def repair(self, record: SessionRecord) -> Mended:
        """Mend what `check` finds, without any request.

        Raises:
            StorageError: the archive cannot be read or written.
        """
