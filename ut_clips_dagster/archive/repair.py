"""Mends what `verify` finds in a session: from its other documents, its rows and its objects, without any request.

Documents are the truth for rows. A damaged or missing document is rebuilt from the rows, which hold nearly all of it.
A record whose object is missing or differs is taken out, so that the clip is fetched anew, beside what is there:
nothing stored is overwritten or deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pydantic import ValidationError

from ut_clips_dagster.archive.documents import (
    ClipFilesDocument,
    ClipListDocument,
    ClipProblem,
    ClipUrlsDocument,
    Cut,
    Document,
    Generation,
    ListedClip,
    SessionDocument,
    SessionRecord,
    StoredClip,
)
from ut_clips_dagster.archive.records import CLIP_LIST, CLIP_URLS, CLIPS, DOCUMENTS, SESSION, SessionRecords
from ut_clips_dagster.archive.rows import NOT_TRIED, STORED, clip_metadata, same_rows
from ut_clips_dagster.archive.verification import check_object, lost_documents
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.results_api.models import MALFORMED, Malformed, now_utc
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store

LISTED_STATUS = "COMPLETE"
"""The session list holds completed sessions only."""

Row = dict[str, Any]


@dataclass
class Repaired:
    """What became of one session."""

    session_id: str
    record: SessionRecord
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What no repair can bring back, or what could not be looked at."""
    trusted: bool = True
    """False: an object or a document could not be read, so that nobody knows what it holds."""

    error: StorageError | None = None
    """What ended its repair: from there on it is left as it is."""

    known: bool = True
    """False: rows named it that belong to no such session; nothing of it is there."""

    @property
    def lacks(self) -> bool:
        """Its listing or clips have to be fetched anew."""
        return self.known and self.trusted and not self.record.is_complete

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What cannot be read or written in here ends the repair of this session alone."""
        try:
            yield
        except StorageError as error:
            self.error, self.trusted = error, False
            self.left.append(str(error))


class Repairer:
    """Repairs sessions one by one; safe beside running pipelines, as every write of a document merges."""

    def __init__(self, store: Store, records: SessionRecords, table: MetadataTable) -> None:
        self._store = store
        self._records = records
        self._table = table

    def repair(self, session_id: str) -> Repaired:
        """Mend a session's documents, records and rows, as far as they can be read and written."""
        repaired = Repaired(session_id, SessionRecord.empty(session_id))
        with repaired.attempt():
            self._repair(repaired)
        return repaired

    def _repair(self, repaired: Repaired) -> None:
        session_id = repaired.session_id
        found = self._table.read([session_id])
        inspection = self._records.inspect(session_id)
        repaired.record = inspection.record
        rows = list(_rows(session_id, found))
        repaired.known = bool(inspection.present or inspection.damaged or rows)
        broken = {*inspection.damaged, *(name for name, _ in lost_documents(inspection, found))}
        for name in DOCUMENTS:  # later ones are rebuilt with the help of earlier ones
            if name in broken and repaired.known:
                self._mend(repaired, name, rows, damaged=name in inspection.damaged)
        self._forget_lost_objects(repaired)
        expected = clip_metadata(repaired.record)
        if not same_rows(expected, found):
            self._table.replace(session_id, lambda: clip_metadata(self._records.inspect(session_id).record))
            repaired.done.append(f"{len(expected)} rows written from the documents, in place of {len(found)}")

    def _mend(self, repaired: Repaired, name: str, rows: list[Row], *, damaged: bool) -> None:
        session_id = repaired.session_id
        rebuilt = self._rebuilt(name, repaired.record, rows)
        if name == CLIP_URLS and not damaged and isinstance(rebuilt, ClipUrlsDocument):
            for generation in rebuilt.clips:  # it may be there and lack some
                if all(generation.clip_uuid != g.clip_uuid for g in repaired.record.clip_urls.clips):
                    self._records.add_generation(session_id, generation)
        elif damaged or rebuilt is not None:
            self._records.mend(session_id, name, rebuilt)
        repaired.record = self._records.inspect(session_id).record
        if rebuilt is not None:
            repaired.done.append(f"{name}.json rebuilt from rows and other documents")
        else:
            repaired.left.append(f"{name}.json cannot be rebuilt: no row or document says what it held")

    def _rebuilt(self, name: str, record: SessionRecord, rows: list[Row]) -> Document | None:
        if name == SESSION:
            return _session(record, rows)
        if name == CLIP_LIST:
            return _clip_list(record, rows)
        if name == CLIP_URLS:
            return _clip_urls(record, rows)
        return self._clip_files(record, rows)

    def _clip_files(self, record: SessionRecord, rows: list[Row]) -> ClipFilesDocument:
        """Files that the rows name, as far as the store holds what they say; others are fetched anew."""
        by_uuid = {row["clip_uuid"]: row for row in rows}
        files, problems = [], []
        for clip in record.clip_list.clips if record.clip_list else ():
            row = by_uuid.get(clip.clip_uuid, {})
            try:
                if row.get("status") == STORED:
                    file = StoredClip(cut=clip.cut, **{k: row[k] for k in StoredClip.model_fields if k in row})
                    if check_object(file, self._store, read_data=True) is None:
                        files.append(file)
                elif row.get("error") not in (None, NOT_TRIED) and not _is_malformed(row):
                    problem = {"clip_uuid": clip.clip_uuid, "status": row["status"], "error": row["error"]}
                    problems.append(ClipProblem(**problem, at=now_utc()))
            except ValidationError:
                continue  # the row is damaged, too: the clip is fetched anew
        return ClipFilesDocument(session_id=record.session_id, files=tuple(files), problems=tuple(problems))

    def _forget_lost_objects(self, repaired: Repaired) -> None:
        lost: list[StoredClip] = []
        for file in repaired.record.clip_files.files:
            difference = check_object(file, self._store, read_data=True)
            if difference is None:
                continue
            kind, what = difference
            if kind == "object unreadable":
                repaired.trusted = False
                repaired.left.append(f"{what} Nothing is fetched anew as long as it may be whole.")
            else:
                lost.append(file)
                repaired.done.append(f"{what}: no longer recorded as stored")
        if not lost:
            return
        paths = frozenset(file.storage_path for file in lost)
        files = self._records.forget_files(repaired.session_id, paths)
        repaired.record = repaired.record.model_copy(update={"clip_files": files})
        wanted = {(clip.clip_uuid, clip.cut) for clip in repaired.record.missing}
        for file in lost:
            if (file.clip_uuid, file.cut) not in wanted:
                repaired.left.append(
                    f"clip {file.clip_uuid}: {file.storage_path} cannot be fetched anew, "
                    "as UserTesting no longer lists the clip, or this cut of it"
                )


def _rows(session_id: str, found: pd.DataFrame) -> Iterator[Row]:
    """One row per clip as Python values; a row that names another session's file is none of this session."""
    once = ~found.duplicated("clip_uuid") | found["clip_uuid"].isna()  # a malformed entry may have no ID that is one
    for raw in found[once].to_dict("records"):
        row = {name: None if pd.isna(value) else value for name, value in raw.items()}
        path = row["storage_path"]
        if path is None or path.startswith(f"{CLIPS}{row['study_uuid']}/{session_id}/{row['clip_uuid']}"):
            yield row


def _session(record: SessionRecord, rows: list[Row]) -> SessionDocument | None:
    listing = record.clip_list
    for row in rows:
        if row["session_started_at"] is None:
            continue
        try:
            return SessionDocument(
                session_id=record.session_id,
                test_id=listing.study_uuid if listing else row["study_uuid"],
                status=LISTED_STATUS,
                started_at=row["session_started_at"],
                finished_at=row["session_finished_at"],
                found_at=min((r["first_listed_at"] for r in rows if r["first_listed_at"]), default=now_utc()),
            )
        except ValidationError:
            continue
    return None


def _clip_list(record: SessionRecord, rows: list[Row]) -> ClipListDocument | None:
    clips = []
    malformed = [row for row in rows if _is_malformed(row)]
    for row in rows:
        try:
            clips.append(
                ListedClip(
                    name=row["clip_name"],
                    description=row["clip_description"],
                    cut=_cut(record, row),
                    **{k: row[k] for k in ListedClip.model_fields if k in row},
                )
            )
        except ValidationError:
            continue  # it is listed anew by the archive run that follows, unless it is no longer at UserTesting
    seen = [(clip.first_listed_at, clip.listed_at) for clip in clips]
    seen += [(row["first_listed_at"], row["listed_at"]) for row in malformed if row["listed_at"]]
    if not seen:
        return None
    return ClipListDocument(
        session_id=record.session_id,
        study_uuid=rows[0]["study_uuid"],
        first_listed_at=min(first for first, _ in seen),
        listed_at=max(last for _, last in seen),
        clips=tuple(clips),
        malformed=tuple(Malformed(uuid=row["clip_uuid"], reason=row["error"]) for row in malformed),
    )


def _is_malformed(row: Row) -> bool:
    return str(row.get("error") or "").startswith(MALFORMED)


def _clip_urls(record: SessionRecord, rows: list[Row]) -> ClipUrlsDocument:
    generations: dict[str, Generation] = {}
    for file in record.clip_files.files:  # at worst nothing is known but that it was generated
        generations[file.clip_uuid] = Generation(clip_uuid=file.clip_uuid, cut=file.cut, attempts=0, waited_s=0.0)
    cuts = {clip.clip_uuid: clip.cut for clip in record.clip_list.clips} if record.clip_list else {}
    for row in rows:
        attempts, clip_uuid = row["generation_attempts"], row["clip_uuid"]
        if attempts is not None and clip_uuid in cuts:
            generations[clip_uuid] = Generation(
                clip_uuid=clip_uuid, cut=cuts[clip_uuid], attempts=attempts, waited_s=row["waited_s"] or 0.0
            )
    return ClipUrlsDocument(session_id=record.session_id, clips=tuple(generations.values()))


def _cut(record: SessionRecord, row: Row) -> Cut:
    """The clip's cut; rows hold no layout, but the documents of its file and its generation do."""
    cut = Cut(time_start_ms=row["time_start_ms"], time_end_ms=row["time_end_ms"])
    known: list[StoredClip | Generation] = [*reversed(record.clip_files.files), *record.clip_urls.clips]
    return next((k.cut for k in known if k.clip_uuid == row["clip_uuid"] and _same_span(k.cut, cut)), cut)


def _same_span(one: Cut, other: Cut) -> bool:
    return (one.time_start_ms, one.time_end_ms) == (other.time_start_ms, other.time_end_ms)
