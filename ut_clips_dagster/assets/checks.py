"""Asset checks a person can act on: what is wrong, where, and the command that repairs it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence

from dagster import AssetCheckResult, AssetCheckSeverity, AssetExecutionContext

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.verification import Difference
from ut_clips_dagster.assets.event_metadata import table as as_table
from ut_clips_dagster.assets.event_metadata import unmarked
from ut_clips_dagster.assets.io_manager import FILTERED_KEYS
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.plain_text import one_line
from ut_clips_dagster.resources import ArchiveResource

MAX_SHOWN = 20
LONGEST = 300
MAX_CHECK_S = 300.0
"""A check that is executed without partitions looks at all sessions, for no longer than this."""


def check_results(
    context: AssetExecutionContext,
    archive: ArchiveResource,
    session_ids: Sequence[str],
    *,
    max_s: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[AssetCheckResult]:
    """One result per selected check.

    Args:
        context: of the run.
        archive: what to look at.
        session_ids: the sessions, in the order in which they are looked at.
        max_s: after so many seconds the rest is left out, and the results say so.
        clock: monotonic seconds.
    """
    give_up_at = clock() + max_s
    store, records = archive.store(), archive.records()
    table = archive.table().read(session_ids if len(session_ids) <= FILTERED_KEYS else None)
    rows, none = dict(iter(table.groupby("session_id"))), table.iloc[:0]
    found: dict[str, list[Difference]] = {
        "every_listed_clip_stored": [],
        "objects_intact": [],
        "rows_agree_with_documents": [],
    }
    checked = 0
    for session_id in session_ids:
        if clock() >= give_up_at:
            break
        checked += 1
        try:
            record = records.read(session_id)
        except StorageError as error:
            repair = f"ut-clips repair --session {session_id}"
            found["every_listed_clip_stored"].append(Difference("document damaged", session_id, str(error), repair))
            continue
        found["every_listed_clip_stored"] += verification.not_stored(record)
        found["objects_intact"] += verification.objects(record, store, read_data=False)
        found["rows_agree_with_documents"] += verification.rows(record, rows.get(session_id, none))
    for key in context.selected_asset_check_keys:
        differences = found[key.name]
        yield AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=not differences,
            severity=AssetCheckSeverity.ERROR,
            description=_describe(differences, checked, len(session_ids)),
            metadata={
                "sessions": checked,
                "sessions_left_out": len(session_ids) - checked,
                "differences": len(differences),
                "repair": as_table(
                    ("session", "difference", "what", "repair"),
                    [(d.session_id, d.kind, d.what, d.repair) for d in differences],
                ),
            },
        )


def rotated(session_ids: Sequence[str], choose: Callable[[int], int] = random.randrange) -> list[str]:
    """The sessions from another one on each time: where time does not suffice for all, all have their turn."""
    start = choose(len(session_ids)) if session_ids else 0
    return [*session_ids[start:], *session_ids[:start]]


def _describe(differences: list[Difference], checked: int, of: int) -> str:
    left_out = f" {of - checked} more were left out, as time was up: execute it again, or `ut-clips verify`."
    end = left_out if checked < of else ""
    if not differences:
        return f"All well in {checked} session(s).{end}"
    told = (f"Session {d.session_id}: {unmarked(one_line(d.what, LONGEST))}" for d in differences[:MAX_SHOWN])
    return "\n".join(told) + end
