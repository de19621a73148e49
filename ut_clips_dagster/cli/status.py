"""`ut-clips status` and `ut-clips plan`: where the archive stands, and what the rest will take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import typer
from dagster import AssetKey
from rich.table import Table

from ut_clips_dagster.archive.plan import Plan, learn, plan
from ut_clips_dagster.assets.specs import CLIP_LIST
from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import Platform, open_platform
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.sensors.run_requests import sessions_in_flight
from ut_clips_dagster.sensors.unfinished_sessions import unfinished_sessions

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


def read_status(platform: Platform) -> Status:
    """Status from Dagster's partitions and the metadata table; no request, and no document is read."""
    instance, table = platform.instance, platform.archive.table()
    order = instance.get_dynamic_partitions(SESSIONS)
    unfinished = unfinished_sessions(instance, platform.archive, order)
    in_flight = sessions_in_flight(instance, order)
    rows = table.read(columns=["session_id", "clip_uuid", "status", "error", "listed", "size_bytes"])
    open_rows = rows[(rows["status"] != "STORED") & rows["listed"]]
    by_session = {str(key): group for key, group in open_rows.groupby("session_id")}
    return Status(
        archive=platform.archive.store().uri,
        sessions=len(order),
        archived=len(order) - len(unfinished),
        unfinished=len(unfinished),
        in_flight=len(in_flight.intersection(unfinished)),
        clips=dict(Counter(str(status) for status in rows["status"])),
        size_bytes=int(rows["size_bytes"].fillna(0).sum()),
        rest=plan_for(platform, unfinished),
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
    )


def plan_for(platform: Platform, sessions: Sequence[str]) -> Plan:
    """What these sessions will cost, from what is known of all."""
    listed = set(platform.instance.get_materialized_partitions(AssetKey(CLIP_LIST)))
    rows = platform.archive.table().read(columns=["session_id", "status", "listed", "generation_attempts", "waited_s"])
    wanted = set(sessions)
    missing = rows[(rows["status"] != "STORED") & rows["listed"] & rows["session_id"].isin(list(wanted))]
    return plan(learn(rows, len(listed)), len(wanted), len(wanted - listed), len(missing))


def print_status(*, as_json: bool) -> None:
    """Print the status as tables, or as one JSON object."""
    status = read_status(open_platform(api=False))
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=1))
        return
    table = Table("", "", show_header=False, title=f"Archive {status.archive}")
    table.add_row("sessions", f"{status.sessions:,}")
    table.add_row("  archived", f"{status.archived:,}")
    table.add_row("  unfinished", f"{status.unfinished:,} ({status.in_flight:,} queued or running)")
    table.add_row("clips", f"{sum(status.clips.values()):,}")
    for state, count in sorted(status.clips.items()):
        table.add_row(f"  {state}", f"{count:,}")
    table.add_row("bytes stored", f"{status.size_bytes:,}")
    table.add_row("the rest", str(status.rest) if status.unfinished else "nothing: all is archived")
    console.print(table)
    for session in status.unfinished_sessions[:MAX_SHOWN]:
        state = "queued or running" if session.in_flight else "unfinished"
        console.print(f"Session {session.session_id}: {state}", highlight=False)
        for clip in session.clips:
            console.print(f"  clip {clip.clip_uuid}: {clip.status}: {clip.error}", highlight=False, markup=False)
    if status.unfinished > MAX_SHOWN:
        console.print(f"… and {status.unfinished - MAX_SHOWN:,} more; --json lists up to {MAX_LISTED}.")


def print_plan(sessions: int | None, *, as_json: bool) -> None:
    """Print what archiving all that is unfinished, or so many new sessions, will cost."""
    platform = open_platform(api=False)
    if sessions is None:
        order = platform.instance.get_dynamic_partitions(SESSIONS)
        answer = plan_for(platform, unfinished_sessions(platform.instance, platform.archive, order))
    else:
        answer = plan_for(platform, [f"new {number}" for number in range(sessions)])
    typer.echo(json.dumps(asdict(answer)) if as_json else str(answer))
