"""Asset checks a person can act on: what is wrong, where, and the command that repairs it."""

from __future__ import annotations

from collections.abc import Iterator

from dagster import AssetCheckResult, AssetCheckSeverity, AssetExecutionContext

from ut_clips_dagster.archive import verification
from ut_clips_dagster.archive.verification import Difference
from ut_clips_dagster.assets.event_metadata import table as as_table
from ut_clips_dagster.assets.event_metadata import unmarked
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.plain_text import one_line
from ut_clips_dagster.resources import ArchiveResource

MAX_SHOWN = 20
LONGEST = 300


def check_results(
    context: AssetExecutionContext, archive: ArchiveResource, session_ids: list[str]
) -> Iterator[AssetCheckResult]:
    """One result per selected check, over the sessions of this run."""
    store, records = archive.store(), archive.records()
    table = archive.table().read(session_ids)
    found: dict[str, list[Difference]] = {
        "every_listed_clip_stored": [],
        "objects_intact": [],
        "rows_agree_with_documents": [],
    }
    for session_id in session_ids:
        try:
            record = records.read(session_id)
        except StorageError as error:
            repair = f"ut-clips repair --session {session_id}"
            found["every_listed_clip_stored"].append(Difference("document damaged", session_id, str(error), repair))
            continue
        found["every_listed_clip_stored"] += verification.not_stored(record)
        found["objects_intact"] += verification.objects(record, store, read_data=False)
        found["rows_agree_with_documents"] += verification.rows(record, table[table["session_id"] == session_id])
    for key in context.selected_asset_check_keys:
        differences = found[key.name]
        yield AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=not differences,
            severity=AssetCheckSeverity.ERROR,
            description=_describe(differences, len(session_ids)),
            metadata={
                "sessions": len(session_ids),
                "differences": len(differences),
                "repair": as_table(
                    ("session", "difference", "what", "repair"),
                    [(d.session_id, d.kind, d.what, d.repair) for d in differences],
                ),
            },
        )


def _describe(differences: list[Difference], sessions: int) -> str:
    if not differences:
        return f"All well in {sessions} session(s)."
    return "\n".join(f"Session {d.session_id}: {unmarked(one_line(d.what, LONGEST))}" for d in differences[:MAX_SHOWN])
