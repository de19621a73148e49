"""`ut-clips archive`: one pipeline over all there is to do, recorded in the Dagster instance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dagster import AssetMaterialization

from ut_clips_dagster.account import ARCHIVE_JOB
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.relisting import next_relist, settled_sessions
from ut_clips_dagster.archive.rows import all_clip_metadata, differing_sessions
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import console, errors, say
from ut_clips_dagster.cli.follow_ons import make_follow_ons
from ut_clips_dagster.cli.platform import Platform, open_platform
from ut_clips_dagster.cli.progress import watching
from ut_clips_dagster.cli.runs import run_job
from ut_clips_dagster.errors import (
    ApiUnavailableError,
    AuthenticationError,
    BudgetExhaustedError,
    ClipsError,
    ResultsApiError,
    SettingsError,
    StorageError,
)
from ut_clips_dagster.known_sessions import (
    check_archive_is_there,
    no_sessions,
    sessions_of_unsuccessful_runs,
    told_as_no_session,
    unfinished_sessions,
)
from ut_clips_dagster.results_api.client import SESSION_LIST_MAX_OFFSET, ResultsApi
from ut_clips_dagster.results_api.models import SessionSummary, is_uuid, now_utc, parse_uuid
from ut_clips_dagster.run_launcher import end_gone_runs
from ut_clips_dagster.sensors.new_sessions import take_sessions
from ut_clips_dagster.sensors.run_requests import pieces

BRIDGED_SESSIONS = 3
"""Complete sessions between unfinished ones that one run may span: each is listed again, and another run would wait for
its own clips' generation."""


def archive_once(only: Sequence[str]) -> bool:
    """Discover, add partitions, archive what is missing, make what follows on it; True when no clip is left unfinished.

    Raises:
        ClipsError: it could not run; the message says why.
        KeyboardInterrupt: a signal ended it; what is stored is kept.
    """
    named = [_session_id(text) for text in only]
    platform = open_platform()
    check_archive_is_there(platform.instance, platform.archive.table(), platform.account)
    platform.archive.store().check_writable()
    end_gone_runs(platform.instance)
    known = set(platform.instance.get_dynamic_partitions(platform.account.partitions))
    all_found = True
    if not named or not known.issuperset(named):
        all_found = discover_all(platform, known, others=bool(named or known))
    platform.instance.add_dynamic_partitions(platform.account.partitions, [s for s in named if s not in known])
    order = platform.instance.get_dynamic_partitions(platform.account.partitions)
    for key in no_sessions(order):
        say(told_as_no_session(key), to=errors)
    done = _archive_wanted(platform, named, order) and all_found
    make_follow_ons(platform, named or None, order)
    return done


def _archive_wanted(platform: Platform, named: list[str], order: Sequence[str]) -> bool:
    if named:
        return archive_sessions(platform, named, order)
    wanted = _to_do(platform, order)
    if not wanted:
        console.print(f"All {counted(len(order) - len(no_sessions(order)), 'session')} are archived; nothing to do.")
        return True
    return archive_sessions(platform, wanted, order, BRIDGED_SESSIONS)


def archive_sessions(platform: Platform, wanted: Sequence[str], order: Sequence[str], bridged: int = 0) -> bool:
    """Run the job over these sessions in as few runs as can be; True when all are finished and none failed.

    Args:
        platform: what to work with.
        wanted: the sessions.
        order: all known ones in Dagster's order, in which a run spans a range.
        bridged: most sessions in a row that nobody asked for and that a run may span all the same.
    """
    failures: list[str] = []
    with watching(len(wanted)):
        for piece in bridged_pieces(wanted, order, bridged):
            failures += run_job(platform, platform.account.named(ARCHIVE_JOB), piece)
    for failure in failures:
        say(failure, to=errors)
    return _summary(platform, wanted) and not failures


def discover_all(platform: Platform, known: set[str], *, others: bool) -> bool:
    """Find the new sessions of every test; what cannot be read of one must not stop the others.

    Args:
        platform: what to work with.
        known: all known sessions; those found are added.
        others: there is something to archive, whatever is found.

    Returns:
        False when a test could not be read, or some of its entries were malformed: each is named.

    Raises:
        ResultsApiError: the account may not ask, or no test could be read and there is nothing else to do.
    """
    failed: list[ResultsApiError] = []
    malformed = 0
    with platform.results_api.client() as client:
        for test_id in platform.settings.test_ids:
            try:
                malformed += discover(platform, client, test_id, known)
            except ResultsApiError as error:
                platform.archive.discoveries().failed(test_id, error)
                if isinstance(error, AuthenticationError | BudgetExhaustedError):
                    raise  # of the account: the other tests fare alike
                failed.append(error)
    none_read = len(failed) == len(platform.settings.test_ids)
    if none_read and (not others or any(isinstance(each, ApiUnavailableError) for each in failed)):
        raise failed[0] if len(failed) == 1 else ResultsApiError("\n".join(map(str, failed)))
    for failure in failed:
        say(str(failure), to=errors)
    return not failed and not malformed


def discover(platform: Platform, client: ResultsApi, test_id: str, known: set[str]) -> int:
    """Read a test's session list to its end; write documents, partitions and events of what is new.

    Returns:
        how many entries were malformed.
    """
    records = platform.archive.records()
    found = entries = malformed = 0
    while True:
        page = client.list_sessions(test_id, offset=entries)
        unknown = [s for s in page.sessions if s.session_id not in known]
        _record(platform, take_sessions(records, test_id, unknown, platform.account), unknown)
        known.update(s.session_id for s in unknown)
        found += len(unknown)
        malformed += len(page.malformed)
        for entry in page.malformed:
            say(f"Test {test_id}: {entry.reason} It is left out, and asked for again by the next run.", to=errors)
        is_last = page.is_last(entries)
        entries += page.entries
        if is_last or entries > SESSION_LIST_MAX_OFFSET:
            break
    total = page.meta.pagination.total_count
    platform.archive.discoveries().succeeded(test_id, entries if total is None else total, malformed)
    console.print(f"Test {test_id}: {counted(entries if total is None else total, 'session')}, {found} of them new.")
    return malformed


def _record(platform: Platform, events: Sequence[AssetMaterialization], found: Sequence[SessionSummary]) -> None:
    platform.instance.add_dynamic_partitions(platform.account.partitions, [s.session_id for s in found])
    for event in events:
        platform.instance.report_runless_asset_event(event)


def _to_do(platform: Platform, order: Sequence[str]) -> list[str]:
    """What is unfinished or due to be listed again, and what a killed run left: documents that say more than the rows.

    Documents are read of sessions that may still change, of those without clips, and of those whose run did not end
    well; not of all others, or to begin would take minutes with 100,000 sessions.
    """
    rows = platform.archive.table().read()
    instance, account = platform.instance, platform.account
    wanted = set(unfinished_sessions(instance, platform.archive.table(), order, account))
    now = now_utc()
    settled = settled_sessions(rows, now) - sessions_of_unsuccessful_runs(instance, order, account)
    to_read = [key for key in order if key not in wanted and key not in settled and is_uuid(key)]
    complete: list[SessionRecord] = []
    for session_id, record in platform.archive.records().read_all(to_read):
        if isinstance(record, StorageError):  # the run says what is wrong with it, and goes on with the others
            wanted.add(session_id)
            continue
        at = next_relist(record, now)
        if (at is not None and at <= now) or not record.is_complete:
            wanted.add(session_id)
        else:
            complete.append(record)
    theirs = rows[rows["session_id"].isin([record.session_id for record in complete])]
    wanted |= differing_sessions(all_clip_metadata(complete), theirs)
    return [session_id for session_id in order if session_id in wanted]


def bridged_pieces(wanted: Sequence[str], order: Sequence[str], bridged: int) -> Iterator[list[str]]:
    """Contiguous pieces of the order that hold all wanted sessions, joined over short gaps."""
    position = {key: index for index, key in enumerate(order)}
    span: list[int] = []
    for piece in pieces(wanted, order, len(order)):
        first, last = position[piece[0]], position[piece[-1]]
        if span and (first - span[-1] - 1 > bridged or no_sessions(order[span[-1] + 1 : first])):
            yield list(order[span[0] : span[-1] + 1])
            span = []
        span += [first, last]
    if span:
        yield list(order[span[0] : span[-1] + 1])


def _summary(platform: Platform, wanted: Sequence[str]) -> bool:
    records = platform.archive.records()
    unfinished = set(unfinished_sessions(platform.instance, platform.archive.table(), wanted, platform.account))
    clips = size = 0
    for session_id in wanted:
        try:
            record = records.read(session_id)
        except ClipsError as error:
            say(f"Session {session_id}: {error}", to=errors)
            unfinished.add(session_id)
            continue
        clips += len(record.clip_files.files)
        size += sum(f.size_bytes for f in record.clip_files.files)
    say(
        f"{len(wanted) - len(unfinished)} of {counted(len(wanted), 'session')} archived: "
        f"{counted(clips, 'clip')}, {size:,} bytes, in {platform.archive.store().uri}"
    )
    return not unfinished


def _session_id(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise SettingsError(f"--session: {error}; give the session's UUID.") from None
