"""`ut-clips status` and `ut-clips plan`: where the archive stands, and what the rest will take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
import typer
from dagster import DagsterInstance
from rich.table import Table

from ut_clips_dagster.archive.plan import History, Plan, learn, plan
from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import open_instance
from ut_clips_dagster.known_sessions import CLIP_LIST, materialized_sessions, sessions_in_flight, unfinished_sessions
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import TABLE, MetadataTable
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable
from ut_clips_dagster.transcripts.lacking import without_transcript

MAX_SHOWN = 20
MAX_LISTED = 1000


@dataclass(frozen=True)
class UnfinishedClip:
    """A listed clip that is not stored, and why."""

    clip_uuid: str
    status: str
    error: str


@dataclass(frozen=True)
class UnfinishedSession:
    """A session that is not archived, and why."""

    session_id: str
    in_flight: bool
    clips: tuple[UnfinishedClip, ...]


@dataclass(frozen=True)
class Status:
    """The archive at a glance."""

    archive: str
    sessions: int
    archived: int
    unfinished: int
    in_flight: int
    clips: dict[str, int]
    size_bytes: int
    rest: Plan
    unfinished_sessions: tuple[UnfinishedSession, ...]
    """At most `MAX_LISTED` of them."""
    media_problems: tuple[str, ...] = ()
    """What is wrong with stored clips' files, in words; at most `MAX_LISTED`."""


def read_status(instance: DagsterInstance, table: MetadataTable) -> Status:
    """Status from Dagster's partitions and the metadata table; no request, and no document is read."""
    order = instance.get_dynamic_partitions(SESSIONS)
    unfinished = unfinished_sessions(instance, table, order)
    in_flight = sessions_in_flight(instance, order)
    rows = table.read(columns=["session_id", "status", "listed", "size_bytes", "generation_attempts", "waited_s"])
    by_session = {str(key): group for key, group in table.unfinished().groupby("session_id")}
    return Status(
        archive=table.uri.removesuffix(f"/{TABLE}"),
        sessions=len(order),
        archived=len(order) - len(unfinished),
        unfinished=len(unfinished),
        in_flight=len(in_flight.intersection(unfinished)),
        clips={str(status): int(count) for status, count in rows["status"].value_counts().items()},
        size_bytes=int(rows["size_bytes"].fillna(0).sum()),
        rest=plan_for(instance, rows, unfinished, transcripts_ahead(table, unfinished)),
        unfinished_sessions=tuple(
            UnfinishedSession(
                session_id,
                session_id in in_flight,
                tuple(
                    UnfinishedClip(str(row.clip_uuid), str(row.status), str(row.error))
                    for row in by_session[session_id].itertuples()
                )
                if session_id in by_session
                else (),
            )
            for session_id in unfinished[:MAX_LISTED]
        ),
        media_problems=media_problems(MediaTable(table.uri.removesuffix(f"/{TABLE}"))),
    )


def media_problems(table: MediaTable) -> tuple[str, ...]:
    """What is wrong with stored clips' files, one text for each; the clips are stored all the same."""
    rows = table.problems().head(MAX_LISTED).itertuples()
    return tuple(f"Session {row.session_id}: clip {row.clip_uuid}: {row.problem}" for row in rows)


def plan_for(instance: DagsterInstance, rows: pd.DataFrame, sessions: Sequence[str], transcripts: int = 0) -> Plan:
    """What these sessions will cost, from what is known of all."""
    if not sessions:
        return plan(History(), 0, 0, 0, transcripts)
    listed = materialized_sessions(instance, CLIP_LIST)
    wanted = set(sessions)
    missing = rows[(rows["status"] != "STORED") & rows["listed"]]
    missing = missing[missing["session_id"].isin(list(wanted))]
    return plan(learn(rows, len(listed)), len(wanted), len(wanted - listed), len(missing), transcripts)


def transcripts_ahead(table: MetadataTable, unfinished: Sequence[str]) -> int:
    """How many transcripts are still to be asked for: of archived sessions, and of those that are unfinished."""
    settings = load_settings(api=False)
    if not settings.transcripts:
        return 0
    asked_for = SessionTranscriptsTable.of_archive(settings.archive)
    known = set(asked_for.read(columns=["session_id"])["session_id"])
    return len(without_transcript(table, asked_for, None, now_utc()) | (set(unfinished) - known))


def print_status(*, as_json: bool) -> None:
    """Print the status as tables, or as one JSON object."""
    table = _table()  # first: a wrong setting is told before Dagster is imported
    with open_instance() as instance:
        status = read_status(instance, table)
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=1))
        return
    shown = Table("", "", show_header=False, title=f"Archive {status.archive}")
    shown.add_row("sessions", f"{status.sessions:,}")
    shown.add_row("  archived", f"{status.archived:,}")
    shown.add_row("  unfinished", f"{status.unfinished:,} ({status.in_flight:,} queued or running)")
    shown.add_row("clips", f"{sum(status.clips.values()):,}")
    for state, count in sorted(status.clips.items()):
        shown.add_row(f"  {state}", f"{count:,}")
    shown.add_row("bytes stored", f"{status.size_bytes:,}")
    shown.add_row("the rest", str(status.rest) if status.rest.requests else "nothing: all is archived")
    console.print(shown)
    for session in status.unfinished_sessions[:MAX_SHOWN]:
        state = "queued or running" if session.in_flight else "unfinished"
        console.print(f"Session {session.session_id}: {state}", highlight=False)
        for clip in session.clips:
            console.print(f"  clip {clip.clip_uuid}: {clip.status}: {clip.error}", highlight=False, markup=False)
    for problem in status.media_problems[:MAX_SHOWN]:
        console.print(problem, highlight=False, markup=False)
    if status.unfinished > MAX_SHOWN:
        console.print(f"… and {status.unfinished - MAX_SHOWN:,} more; --json lists up to {MAX_LISTED}.")


def print_plan(sessions: int | None, *, as_json: bool) -> None:
    """Print what archiving all that is unfinished, or so many new sessions, will cost."""
    table = _table()
    rows = table.read(columns=["session_id", "status", "listed", "generation_attempts", "waited_s"])
    with open_instance() as instance:
        if sessions is None:
            wanted = unfinished_sessions(instance, table, instance.get_dynamic_partitions(SESSIONS))
            transcripts = transcripts_ahead(table, wanted)
        else:
            wanted = [f"new {number}" for number in range(sessions)]
            transcripts = sessions if load_settings(api=False).transcripts else 0
        answer = plan_for(instance, rows, wanted, transcripts)
    typer.echo(json.dumps(asdict(answer)) if as_json else str(answer))


def _table() -> MetadataTable:
    return MetadataTable.of_archive(load_settings(api=False).archive)
