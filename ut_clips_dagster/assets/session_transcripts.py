"""`session_transcripts`: what is said in each session, fetched with what the clips leave of the request budget."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetSpec,
    DagsterInstance,
    MetadataValue,
    RunsFilter,
    TableColumn,
    TableRecord,
    TableSchema,
    multi_asset,
)

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.assets.follow_on import BACKFILL, FollowOn, RunEvent, materialize_each
from ut_clips_dagster.assets.specs import GROUP, OWNERS
from ut_clips_dagster.known_sessions import CLIP_FILES, CLIP_LIST, is_archiving
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.resources import ArchiveResource, ResultsApiResource
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.run_queue import FOLLOW_ON_POOL, IN_FLIGHT
from ut_clips_dagster.sensors.run_requests import REASON_TAG
from ut_clips_dagster.transcripts.fetch import Fetched, fetch_transcript
from ut_clips_dagster.transcripts.lacking import without_transcript
from ut_clips_dagster.transcripts.shelf import TranscriptShelf
from ut_clips_dagster.transcripts.webvtt_text import Transcript, read_transcript

NAME = "session_transcripts"
READABLE = "transcript_readable"
MAX_SHOWN = 20
SPEAKERS = TableSchema(
    [TableColumn("speaker", "string"), TableColumn("cues", "int"), TableColumn("words", "int"),
     TableColumn("seconds", "float")]
)  # fmt: skip


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
    check_specs=[AssetCheckSpec(READABLE, asset=NAME, description="Every cue of the stored transcripts can be read.")],
    backfill_policy=BACKFILL,
    pool=FOLLOW_ON_POOL,
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
            # spent at a window's end, where archiving runs that begin meanwhile have left it over
            api.pacer.shared.spread = in_background or left > api.pacer.available()
            left -= 1
            return _metadata(shelf, session_id, fetch_transcript(api, shelf, records.read(session_id), now_utc()))

        yield from materialize_each(
            context,
            NAME,
            make,
            lambda session_ids: _check(shelf, session_ids),
            gives_way=lambda: clips_come_first(context.instance, context.run.run_id, archive.account),
        )
    shelf.table.compact()


def clips_come_first(instance: DagsterInstance, run_id: str, account: Account = DEFAULT) -> bool:
    """Whether another run archives clips, or waits to: the request budget is theirs."""
    runs = instance.get_runs(RunsFilter(statuses=IN_FLIGHT))
    return any(run.run_id != run_id and is_archiving(run, account) for run in runs)


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
    table = _speakers(transcript)
    return {
        **common,
        "cues": len(transcript.cues),
        "words": sum(int(str(row.data["words"])) for row in table),
        "spoken_s": sum(cue.end_ms - cue.start_ms for cue in transcript.cues) / 1000,
        "size_bytes": len(body),
        "speakers": MetadataValue.table(table[:MAX_SHOWN], SPEAKERS),
        "dagster/uri": f"{shelf.store.uri}/{shelf.path(session_id)}",
        **({"problem": transcript.problem} if transcript.problem else {}),
    }


def _speakers(transcript: Transcript) -> list[TableRecord]:
    """Who says how much; what is said stays out of the event log, which cannot be wiped."""
    cues: Counter[str] = Counter()
    words: Counter[str] = Counter()
    lengths_ms: Counter[str] = Counter()
    for cue in transcript.cues:
        voice = cue.voice or ""
        cues[voice] += 1
        words[voice] += len(cue.text.split())
        lengths_ms[voice] += cue.end_ms - cue.start_ms
    return [
        TableRecord({"speaker": v[:80], "cues": n, "words": words[v], "seconds": lengths_ms[v] / 1000})
        for v, n in cues.most_common()
    ]


def _check(shelf: TranscriptShelf, session_ids: Sequence[str]) -> Iterator[AssetCheckResult]:
    documents = {session_id: shelf.transcripts.read(session_id) for session_id in session_ids}
    problems = [
        f"Session {s}: {document.problem}" for s, document in documents.items() if document and document.problem
    ]
    yield AssetCheckResult(
        asset_key=AssetKey(NAME),
        check_name=READABLE,
        passed=not problems,
        severity=AssetCheckSeverity.WARN,
        description="\n".join(problems[:MAX_SHOWN]) or f"All well in {len(session_ids)} session(s).",
        metadata={"sessions": len(session_ids), "problems": len(problems)},
    )


def _lacking(archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
    return without_transcript(archive.table(), TranscriptShelf(archive.store()).table, session_ids, now_utc())


SESSION_TRANSCRIPTS = FollowOn(session_transcripts, after=(CLIP_FILES,), lacking=_lacking)
"""A recheck of late clips logs `clip_files` anew: so an absent transcript is asked for again on that schedule."""
