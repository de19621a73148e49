"""`session_transcripts`: what is said in each session, fetched with what the clips leave of the request budget."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow.dataset as ds
from dagster import (
    AssetCheckSpec,
    AssetExecutionContext,
    AssetSpec,
    DagsterInstance,
    MetadataValue,
    RunsFilter,
    multi_asset,
)

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.assets.event_metadata import short, table
from ut_clips_dagster.assets.follow_on import BACKFILL, FollowOn, Problems, RunEvent, materialize_each
from ut_clips_dagster.assets.specs import GROUP, OWNERS
from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_LIST, is_archiving
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.resources import ArchiveResource, ResultsApiResource
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.results_api.pacing import Operation
from ut_clips_dagster.run_queue import FOLLOW_ON_POOL, IN_FLIGHT, OURS
from ut_clips_dagster.sensors.run_requests import REASON_TAG
from ut_clips_dagster.storage.session_transcripts_table import SessionTranscriptsTable
from ut_clips_dagster.transcripts.fetch import Fetched, fetch_transcript
from ut_clips_dagster.transcripts.lacking import without_transcript
from ut_clips_dagster.transcripts.shelf import TranscriptShelf
from ut_clips_dagster.transcripts.webvtt_text import Transcript, read_transcript

NAME = "session_transcripts"
READABLE = AssetCheckSpec(
    "transcript_readable", asset=NAME, description="Every cue of the stored transcripts can be read."
)
PATIENCE_S = 120.0
"""So long a run that a sensor requested waits for clips to be archived; then its sessions are left to a later one."""
LOOK_EVERY_S = 1.0


@multi_asset(
    name=NAME,
    specs=[
        AssetSpec(
            NAME,
            deps=[CLIP_LIST],
            description=(
                "The session's transcript as WebVTT, byte for byte as the Results API gave it. One request, only for "
                "sessions with a stored clip, and behind all clips in the request budget. A session without transcript "
                "is valid: its status is ABSENT, and it is asked for again on the schedule of late clips."
            ),
            kinds={"usertesting", "vtt"},
            partitions_def=sessions,
            group_name=GROUP,
            owners=OWNERS,
            skippable=True,
        )
    ],
    check_specs=[READABLE],
    backfill_policy=BACKFILL,
    pool=FOLLOW_ON_POOL,
    op_tags=OURS,
)
def session_transcripts(
    context: AssetExecutionContext, results_api: ResultsApiResource, archive: ArchiveResource
) -> Iterator[RunEvent]:
    """Fetch the transcripts of the sessions of this run, as long as nothing archives clips."""
    shelf, records = TranscriptShelf(archive.store()), archive.records()
    in_background = REASON_TAG in context.run.tags  # a sensor's: nobody waits for it
    left = len(context.partition_keys)
    with results_api.client() as api:

        def make(session_id: str) -> Mapping[str, Any]:
            nonlocal left
            left -= 1
            return _metadata(shelf, session_id, fetch_transcript(api, shelf, records.read(session_id), now_utc()))

        def left_to_later() -> bool:
            # spent at a window's end, where archiving runs that begin meanwhile have left it over; that is waited for
            # here, so that such a run is seen before the request is sent
            api.pacer.shared.spread = in_background or left > api.pacer.available()
            time.sleep(api.pacer.delay_s(Operation.GET_TRANSCRIPT))
            patience_s = PATIENCE_S if in_background else 0.0
            return gives_way(context.instance, context.run.run_id, patience_s, archive.account)

        check = (READABLE, lambda: _problems(shelf.table))
        yield from materialize_each(context, NAME, make, check, gives_way=left_to_later)
    shelf.table.compact()


def clips_come_first(instance: DagsterInstance, account: Account = DEFAULT, but: str = "") -> bool:
    """Whether a run archives clips, or waits to: the request budget is theirs.

    Args:
        instance: where to look.
        account: whose runs.
        but: ID of a run that does not count.
    """
    runs = instance.get_runs(RunsFilter(statuses=IN_FLIGHT))
    return any(run.run_id != but and is_archiving(run, account) for run in runs)


def gives_way(  # noqa: PLR0913 - clock and sleep are for tests
    instance: DagsterInstance,
    run_id: str,
    patience_s: float,
    account: Account = DEFAULT,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether other runs still archive clips after so many seconds; it returns as soon as none does."""
    give_up_at = clock() + patience_s
    while clips_come_first(instance, account, but=run_id):
        if clock() >= give_up_at:
            return True
        sleep(LOOK_EVERY_S)
    return False


def _metadata(shelf: TranscriptShelf, session_id: str, fetched: Fetched) -> Mapping[str, Any]:
    document = fetched.document
    if document is None:
        return {"status": "not asked for: no clip of the session is stored"}
    common = {
        "status": document.status,
        "fetched_at": MetadataValue.timestamp(document.fetched_at),
        "source": document.source,
        "from_documents": not fetched.asked,
    }
    body = shelf.body(session_id)
    if body is None:
        return common
    transcript = read_transcript(body)
    speakers = _speakers(transcript)
    return {
        **common,
        "cues": len(transcript.cues),
        "words": sum(words for _, _, words, _ in speakers),
        "spoken_s": sum(cue.end_ms - cue.start_ms for cue in transcript.cues) / 1000,
        "size_bytes": len(body),
        "speakers": table(("speaker", "cues", "words", "seconds"), speakers),
        "dagster/uri": f"{shelf.store.uri}/{shelf.path(session_id)}",
        **({"problem": transcript.problem} if transcript.problem else {}),
    }


def _speakers(transcript: Transcript) -> list[tuple[str, int, int, float]]:
    """Who says how much; what is said stays out of the event log, which cannot be wiped."""
    cues: Counter[str] = Counter()
    words: Counter[str] = Counter()
    lengths_ms: Counter[str] = Counter()
    for cue in transcript.cues:
        voice = cue.voice or ""
        cues[voice] += 1
        words[voice] += len(cue.text.split())
        lengths_ms[voice] += cue.end_ms - cue.start_ms
    return [(short(v), n, words[v], lengths_ms[v] / 1000) for v, n in cues.most_common()]


def _problems(table: SessionTranscriptsTable) -> Problems:
    rows = table.columns(None, ["session_id", "problem"], ds.field("problem").is_valid())
    return {row["session_id"]: [row["problem"]] for row in rows.to_pylist()}


def _lacking(archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
    return without_transcript(archive.table(), TranscriptShelf(archive.store()).table, session_ids, now_utc())


SESSION_TRANSCRIPTS = FollowOn(session_transcripts, after=(CLIP_FILES,), lacking=_lacking, waits=clips_come_first)
"""A recheck of late clips logs `clip_files` anew: so an absent transcript is asked for again on that schedule."""
