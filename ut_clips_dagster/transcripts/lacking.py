"""Which sessions lack a transcript, or the transcripts of their clips: from the tables alone, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable

STORED = "STORED"


def without_transcript(
    metadata: MetadataTable, asked_for: SessionTranscriptsTable, session_ids: Sequence[str] | None, now: datetime
) -> set[str]:
    """Sessions (of these, of all when None) with a stored clip that are to be asked for their transcript now."""
    stored = set(_stored(metadata, session_ids)["session_id"])
    asked = asked_for.read(session_ids, ["session_id", "ask_again_at"])
    later = asked["ask_again_at"].isna() | (asked["ask_again_at"] > now)
    return stored - set(asked["session_id"][later])


def without_cuts(
    metadata: MetadataTable, asked_for: SessionTranscriptsTable, session_ids: Sequence[str] | None
) -> set[str]:
    """Sessions (of these, of all when None) whose transcript is not cut to all their stored clips yet."""
    asked = asked_for.read(session_ids, ["session_id", "status", "clips_cut"])
    asked = asked[asked["status"] == STORED]
    cut = asked["clips_cut"].explode().dropna()
    stored = _stored(metadata, session_ids)
    uncut = stored[~stored["storage_path"].isin(cut) & stored["session_id"].isin(asked["session_id"])]
    return set(uncut["session_id"])


def _stored(metadata: MetadataTable, session_ids: Sequence[str] | None) -> pd.DataFrame:
    rows = metadata.read(session_ids, ["session_id", "status", "storage_path"])
    return rows[rows["status"] == STORED]
