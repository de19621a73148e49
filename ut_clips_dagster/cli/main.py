"""The commands and their options; each one's work is in the module of its name."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ut_clips_dagster.cli.console import EXIT_COULD_NOT_RUN, EXIT_INTERRUPTED, failing_plainly

app = typer.Typer(
    name="ut-clips",
    help="Archive UserTesting clips: find sessions, generate and download their clips, query their metadata.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXIT_UNFINISHED = 2
MAX_PORT = 65535
MAX_DAYS = 36500
MAX_SESSIONS = 1_000_000_000
"""More than there can be; what is larger still is a slip, and would end in an overflow."""
MAX_SIMULATED = 1_000_000
"""Sessions that a machine can hold."""

SessionOption = Annotated[
    list[str] | None, typer.Option("--session", metavar="ID", help="Only this session's UUID; repeat for more.")
]


class Format(str, Enum):
    """How `sql` prints its answer."""

    table = "table"
    csv = "csv"
    json = "json"


class Export(str, Enum):
    """What `export` makes."""

    videofolder = "videofolder"
    webdataset = "webdataset"
    page = "page"


@app.command()
def demo(
    exit_when_done: Annotated[
        bool,
        typer.Option("--exit", help="End when all is archived, and print the table; exits 130 if interrupted before."),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=MAX_PORT, help="Port of the Dagster UI; another one is taken if it is in use.")
    ] = 3000,
) -> None:
    """Show it all on your desk: a simulated Results API, Dagster with its sensors, and the archive they fill."""
    from ut_clips_dagster.cli.demo import run_demo

    with failing_plainly():
        done = run_demo(exit_when_done=exit_when_done, port=port)
        if exit_when_done and not done:
            raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def archive(session: SessionOption = None) -> None:
    """Find sessions and archive what is missing, once, without a daemon.

    Everything is recorded in the Dagster instance (DAGSTER_HOME, else .dagster/). Exit code 0: all is archived;
    2: some sessions are unfinished; 1: it could not run.
    """
    from ut_clips_dagster.cli.archive import archive_once

    with failing_plainly():
        if not archive_once(session or []):
            raise typer.Exit(EXIT_UNFINISHED)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Sessions and clips by state, what is unfinished, why and when it is tried again, and what the rest will take.

    Exit code 2 while sessions are unfinished.
    """
    from ut_clips_dagster.cli.status import print_status

    with failing_plainly():
        if not print_status(as_json=as_json):
            raise typer.Exit(EXIT_UNFINISHED)


@app.command()
def plan(
    sessions: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SESSIONS, help="Plan for so many new sessions instead of all that is unfinished."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What a backfill will cost in requests, and how long it will take, from what is known of earlier clips."""
    from ut_clips_dagster.cli.status import print_plan

    with failing_plainly():
        print_plan(sessions, as_json=as_json)


@app.command()
def sql(
    query: Annotated[
        str | None,
        typer.Argument(help='Such as "select status, count(*) from clips group by 1", or the name of a question.'),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print the answer.")] = Format.table,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|VERSION",
            help="Read the tables as they were within the last 7 days: at a time (UTC, unless it has an offset), or at "
            "a version of clip_metadata.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the questions that can be asked by name.")] = False,
) -> None:
    """Query the archive with DuckDB.

    The view clips joins the tables clip_metadata, clip_media and clip_transcripts; session_transcripts is there, too.
    """
    from ut_clips_dagster.cli.sql import list_questions, run_sql

    with failing_plainly():
        if show:
            list_questions()
        else:
            run_sql(query, output.value, as_of)


@app.command()
def verify(
    read_data: Annotated[bool, typer.Option("--read-data", help="Read every byte of every clip.")] = False,
) -> None:
    """Compare every document, object and row with each other; exit code 2 on any difference."""
    from ut_clips_dagster.cli.verify import verify_archive

    with failing_plainly():
        if not verify_archive(read_data=read_data):
            raise typer.Exit(EXIT_UNFINISHED)


@app.command()
def repair(session: SessionOption = None) -> None:
    """Mend what `verify` found: documents and rows from each other, lost clips by fetching them anew."""
    from ut_clips_dagster.cli.repair import repair_sessions

    with failing_plainly():
        if not repair_sessions(session or []):
            raise typer.Exit(EXIT_UNFINISHED)


@app.command()
def copy(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A directory, gs://bucket/prefix or s3://bucket/prefix.")
    ],
    target: Annotated[str, typer.Argument(metavar="DST", help="Another one: new, or what an earlier copy left.")],
) -> None:
    """Copy an archive to another place: clips, documents and tables, each verified; run again, it goes on.

    Exit code 0: all is there; 2: something is not, or is otherwise at DST and was left so; 1: it could not run.
    """
    from ut_clips_dagster.cli.copy import copy_archive

    with failing_plainly():
        if not copy_archive(source, target):
            raise typer.Exit(EXIT_UNFINISHED)


@app.command()
def prune(
    keep_days: Annotated[int, typer.Option(min=0, max=MAX_DAYS, help="Runs of the last so many days stay.")] = 14,
) -> None:
    """Take old runs out of Dagster's storage; what every partition shows stays as it is.

    The sensor old_runs does the same every hour. Safe beside a running daemon, and when interrupted.
    """
    from ut_clips_dagster.cli.prune import prune_runs

    with failing_plainly():
        prune_runs(keep_days)


@app.command("check-settings")
def check_settings() -> None:
    """Try what the settings name: a token, each test, the archive, DAGSTER_HOME, alerts; exit code 1 if any fails."""
    from ut_clips_dagster.cli.check_settings import check_settings

    with failing_plainly():
        if not check_settings():
            raise typer.Exit(EXIT_COULD_NOT_RUN)


@app.command()
def health(  # noqa: PLR0913, PLR0917 - a command's options
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    alert: Annotated[bool, typer.Option("--alert", help="Tell UT_CLIPS_ALERT_URLS, once, what is not well.")] = False,
    discovery_age: Annotated[str, typer.Option(help="Oldest last reading of each test's session list.")] = "1h",
    heartbeat_age: Annotated[str, typer.Option(help="Oldest sign of life of the Dagster daemon.")] = "10m",
    tick_age: Annotated[str, typer.Option(help="Oldest last tick of a sensor.")] = "15m",
    queued: Annotated[str, typer.Option(help="Longest time that a run may wait in the queue.")] = "12h",
    unarchived: Annotated[str, typer.Option(help="Longest time that a found session may wait for its archive.")] = "3d",
    free: Annotated[str, typer.Option(help="Least free space of the archive and of DAGSTER_HOME.")] = "2G",
    given_up: Annotated[int, typer.Option(min=0, help="Sessions given up that are put up with.")] = 0,
) -> None:
    """Whether all is well: exit code 0, or 1 with what is not, since when, and what to do.

    For cron, systemd and Kubernetes; whoever may read the archive may run it, and it sends no request to UserTesting.
    """
    from ut_clips_dagster.cli.health import check_health, limits_of

    with failing_plainly():
        limits = limits_of(
            discovery=discovery_age,
            heartbeat=heartbeat_age,
            tick=tick_age,
            queued=queued,
            unarchived=unarchived,
            free=free,
            given_up=given_up,
        )
        if not check_health(limits, as_json=as_json, alert=alert):
            raise typer.Exit(EXIT_COULD_NOT_RUN)


@app.command()
def gallery(
    port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="Port to listen on; 0 takes a free one.")] = 8091,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name the gallery is reached by from other machines; repeat for more."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File that holds the token, made if missing; without it each start has a new token."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Directory for the search index.", show_default="~/.cache/ut-clips/gallery")
    ] = None,
) -> None:
    """Search and watch the clips in a browser; prints the address, which holds the token that lets you in."""
    from ut_clips_dagster.cli.gallery import serve_gallery

    with failing_plainly():
        serve_gallery(host=host, port=port, allowed_hosts=allow_host or (), token_file=token_file, cache=cache)


@app.command()
def export(
    target: Annotated[str, typer.Argument(help="Directory: a new or empty one, or an export to bring up to date.")],
    where: Annotated[
        str, typer.Option(metavar="SQL", help='Condition over the view clips, such as "words > 20"; all if not given.')
    ] = "",
    output: Annotated[Export, typer.Option("--format", help="What to make of it.")] = Export.videofolder,
    shard_mb: Annotated[int, typer.Option(min=1, help="Of webdataset: megabytes of clips in a shard.")] = 500,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links instead of copies: whoever changes one changes the archive.")
    ] = False,
) -> None:
    """Take stored clips along: as a data set (Hugging Face VideoFolder, WebDataset), or as a page that needs no server.

    Into the same directory again: what changed is written, what is no longer selected or archived is removed, and what
    was interrupted goes on. Exit code 2: some clips' files are missing or damaged, and were left out.
    """
    from ut_clips_dagster.cli.export import export_clips

    with failing_plainly():
        if not export_clips(target, output.value, where=where, link=link, shard_mb=shard_mb):
            raise typer.Exit(EXIT_UNFINISHED)


@app.command()
def simulator(  # noqa: PLR0913, PLR0917 - a command's options
    port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="Port to listen on (127.0.0.1).")] = 8090,
    rate_limit: Annotated[int, typer.Option(min=1, help="Requests per minute and client.")] = 10,
    sessions: Annotated[int, typer.Option(min=0, max=MAX_SIMULATED, help="Completed sessions at the start.")] = 12,
    time_scale: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="How much faster than real its time runs; 60: an hour a minute.")
    ] = 1,
    appear_every_s: Annotated[
        float | None, typer.Option(min=0.1, help="A new session every so many simulated seconds; none if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other sessions and clips.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Switch on a fault, such as server_error:operation=get_clip,count=2; repeat for more."),
    ] = None,
) -> None:
    """Serve the Results API on your desk: client demo, secret demo, POST /oauth2/token, /openapi.json."""
    from ut_clips_dagster.cli.simulator import explaining_options
    from ut_clips_dagster.simulator.server import serve

    with failing_plainly(), explaining_options():
        serve(
            port=port,
            rate_limit=rate_limit,
            sessions=sessions,
            time_scale=time_scale,
            appear_every_s=appear_every_s,
            seed=seed,
            faults=fault or (),
        )
