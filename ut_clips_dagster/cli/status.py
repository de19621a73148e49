"""`ut-clips status` and `ut-clips plan`: where the archive stands, and what the rest will take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass

import pandas as pd
import typer
from dagster import DagsterInstance, RunsFilter
from rich.table import Table

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.discovery import Discoveries, DiscoveryDocument
from ut_clips_dagster.archive.plan import History, Plan, learn, plan
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import cell, console, say
from ut_clips_dagster.cli.platform import missing_home, store_of
from ut_clips_dagster.cli.read_only import existing_instance, no_instance
from ut_clips_dagster.cli.unfinished import UnfinishedSession, explain, sessions_of_archive, sessions_of_instance
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.health_facts import discoveries_of
from ut_clips_dagster.known_sessions import QueueProgress, queue_progress, told_as_no_session
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.run_queue import IN_FLIGHT
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster.transcripts.lacking import without_transcript

MAX_SHOWN = 20
MAX_LISTED = 1000


@dataclass(frozen=True)
class Status:
    """The archive at a glance."""

    archive: str
    dagster: bool
    """False where there is no Dagster instance: then only the archive itself is known."""
    sessions: int
    archived: int
    unfinished: int
    in_flight: int
    queue: QueueProgress
    clips: dict[str, int]
    size_bytes: int
    rest: Plan
    unfinished_sessions: tuple[UnfinishedSession, ...]
    """At most `MAX_LISTED` of them."""
    no_sessions: tuple[str, ...] = ()
    """Partition keys that are no session's; at most `MAX_LISTED` of them."""
    not_read: tuple[str, ...] = ()
    """Why session lists cannot be read, in words, one for each such test: sessions may be missing above."""
    media_problems: tuple[str, ...] = ()
    """What is wrong with stored clips' files, in words; at most `MAX_LISTED`."""


def read_status(
    instance: DagsterInstance | None, table: MetadataTable, store: Store, account: Account = DEFAULT
) -> Status:
    """Status from Dagster's partitions and the metadata table; without Dagster from the archive's documents.

    Raises:
        StorageError: the archive cannot be read.
    """
    sessions = sessions_of_instance(instance, table, account) if instance else sessions_of_archive(store, table)
    rows = table.read(columns=["session_id", "status", "listed", "size_bytes", "generation_attempts", "waited_s"])
    explained = explain(instance, sessions, sessions.unfinished[:MAX_LISTED], table.unfinished(), account)
    return Status(
        archive=store.uri,
        dagster=instance is not None,
        sessions=len(sessions.known),
        archived=len(sessions.known) - len(sessions.unfinished),
        unfinished=len(sessions.unfinished),
        in_flight=len(sessions.in_flight.intersection(sessions.unfinished)),
        queue=_queue(instance, account),
        clips={str(status): int(count) for status, count in rows["status"].value_counts().items()},
        size_bytes=int(rows["size_bytes"].fillna(0).sum()),
        rest=plan_for(sessions.listed, rows, sessions.unfinished, transcripts_ahead(table, sessions.unfinished)),
        unfinished_sessions=tuple(explained),
        no_sessions=sessions.no_sessions[:MAX_LISTED],
        not_read=not_read(Discoveries(store)),
        media_problems=media_problems(MediaTable(store.uri)),
    )


def not_read(discoveries: Discoveries) -> tuple[str, ...]:
    """Why the session lists of tests cannot be read, one text for each."""
    now = now_utc()
    known = discoveries_of(discoveries, None, now)
    return tuple(_not_read(document) for document in known.values() if document and document.is_lost(now))


def _not_read(document: DiscoveryDocument) -> str:
    since = document.failing_since or document.asked_at
    return f"Test {document.test_id} is not read since {since:%Y-%m-%d %H:%M} UTC. {document.problem}"


def media_problems(table: MediaTable) -> tuple[str, ...]:
    """What is wrong with stored clips' files, one text for each; the clips are stored all the same."""
    rows = table.problems().head(MAX_LISTED).itertuples()
    return tuple(f"Session {row.session_id}: clip {row.clip_uuid}: {row.problem}" for row in rows)


def _queue(instance: DagsterInstance | None, account: Account) -> QueueProgress:
    if instance is None:
        return QueueProgress((), 0, 0)
    runs = instance.get_runs(RunsFilter(statuses=IN_FLIGHT))
    return queue_progress(runs, instance.get_dynamic_partitions(account.partitions), account)


def plan_for(listed: AbstractSet[str], rows: pd.DataFrame, wanted: Sequence[str], transcripts: int = 0) -> Plan:
    """What these sessions will cost, from what is known of all."""
    if not wanted:
        return plan(History(), 0, 0, 0, transcripts)
    missing = rows[(rows["status"] != "STORED") & rows["listed"]]
    missing = missing[missing["session_id"].isin(list(wanted))]
    return plan(learn(rows, len(listed)), len(set(wanted)), len(set(wanted) - listed), len(missing), transcripts)


def transcripts_ahead(table: MetadataTable, unfinished: Sequence[str]) -> int:
    """How many transcripts are still to be asked for: of archived sessions, and of those that are unfinished."""
    settings = load_settings(api=False)
    if not settings.transcripts:
        return 0
    asked_for = SessionTranscriptsTable.of_archive(settings.archive)
    known = set(asked_for.read(columns=["session_id"])["session_id"])
    return len(without_transcript(table, asked_for, None, now_utc()) | (set(unfinished) - known))


def print_status(*, as_json: bool) -> bool:
    """Print the status as tables, or as one JSON object; True when no session is unfinished.

    Raises:
        ClipsError: the archive or the instance cannot be read; where DAGSTER_HOME is not there, once all is printed.
    """
    settings = load_settings(api=False)  # first: a wrong setting is told before Dagster is opened
    root = settings.archive
    with existing_instance() as instance:
        status = read_status(instance, MetadataTable.of_archive(root), store_of(root), Account.of(settings))
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=1))
    else:
        _print(status)
    if not status.dagster and (problem := missing_home()):
        raise SettingsError(problem)
    return not status.unfinished


def _print(status: Status) -> None:
    if not status.dagster:
        say(no_instance())
    console.print(_overview(status))
    for session in status.unfinished_sessions[:MAX_SHOWN]:
        say(f"Session {session.session_id}: {_state(session)}")
        say(f"  {session.reason}")
        for clip in session.clips:
            say(f"  clip {clip.clip_uuid}: {clip.status}: {clip.error}")
    _more(status.unfinished, "sessions")
    for text in status.not_read[:MAX_SHOWN]:
        say(f"{text} Its new sessions are not known here.")
    for key in status.no_sessions[:MAX_SHOWN]:
        say(told_as_no_session(key))
    if status.media_problems:
        console.print("Stored, but something is wrong with the file:")
    for problem in status.media_problems[:MAX_SHOWN]:
        say(f"  {problem}")
    _more(len(status.media_problems), "clips")


def _overview(status: Status) -> Table:
    shown = Table("", "", show_header=False, title=cell(f"Archive {status.archive}"))
    shown.add_row("sessions", f"{status.sessions:,}")
    shown.add_row("  archived", f"{status.archived:,}")
    shown.add_row("  unfinished", f"{status.unfinished:,} ({status.in_flight:,} queued or running)")
    for progress in status.queue.running:
        shown.add_row("  run under way", progress)
    if status.queue.queued_runs:
        shown.add_row(
            "  runs queued", f"{status.queue.queued_runs:,} for {counted(status.queue.queued_sessions, 'session')}"
        )
    shown.add_row("clips", f"{sum(status.clips.values()):,}")
    for state, count in sorted(status.clips.items()):
        shown.add_row(cell(f"  {state}"), f"{count:,}")
    shown.add_row("bytes stored", f"{status.size_bytes:,}")
    done = "nothing: all is archived" if status.sessions else "unknown: no session was found yet"
    shown.add_row("the rest", str(status.rest) if status.rest.requests else done)
    return shown


def _more(number: int, what: str) -> None:
    if number > MAX_SHOWN:
        console.print(f"… and {number - MAX_SHOWN:,} more {what}; --json lists up to {MAX_LISTED}.")


def _state(session: UnfinishedSession) -> str:
    """Unfinished, and when it is tried again."""
    if session.in_flight:
        return "queued or running"
    if session.retries_left is None:
        return "unfinished"
    if not session.retries_left:
        return "given up after all retries; materialize its partition, or `ut-clips archive --session ID`"
    when = f", the next at {session.next_try[:16]} UTC" if session.next_try else ""
    return f"unfinished; retries left: {session.retries_left}{when}"


def print_plan(new: int | None, *, as_json: bool) -> None:
    """Print what archiving all that is unfinished, or so many new sessions, will cost."""
    settings = load_settings(api=False)
    root, account = settings.archive, Account.of(settings)
    table = MetadataTable.of_archive(root)
    rows = table.read(columns=["session_id", "status", "listed", "generation_attempts", "waited_s"])
    with existing_instance() as instance:
        sessions = (
            sessions_of_instance(instance, table, account) if instance else sessions_of_archive(store_of(root), table)
        )
    if new is None:
        wanted = sessions.unfinished
        answer = plan_for(sessions.listed, rows, wanted, transcripts_ahead(table, wanted))
    else:
        answer = plan(learn(rows, len(sessions.listed)), new, new, 0, new if settings.transcripts else 0)
    typer.echo(json.dumps(asdict(answer)) if as_json else str(answer))
