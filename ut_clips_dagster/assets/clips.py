"""The four assets of the archive as one multi_asset: a link must be used the moment it is issued."""

import time
from collections.abc import Container, Iterator
from contextlib import nullcontext
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetMaterialization,
    AssetObservation,
    BackfillPolicy,
    DagsterInstance,
    DagsterRun,
    Failure,
    MaterializeResult,
    MetadataValue,
    OpExecutionContext,
    multi_asset,
)

from ut_clips_dagster.account import Account
from ut_clips_dagster.archive.poller import Batch
from ut_clips_dagster.archive.session_work import SessionResult, Steps
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.assets.checks import MAX_CHECK_S, check_results, rotated
from ut_clips_dagster.assets.event_metadata import event_metadata, table
from ut_clips_dagster.assets.run_plan import plan_and_cost
from ut_clips_dagster.assets.run_state import ended_by_others, stopping_silently
from ut_clips_dagster.assets.specs import check_specs, clip_specs
from ut_clips_dagster.known_sessions import (
    CLIP_FILES,
    CLIP_LIST,
    CLIP_METADATA,
    CLIP_URLS,
    COSTS_A_TRY,
    no_sessions,
    told_as_no_session,
)
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.plain_text import one_line, visible
from ut_clips_dagster.resources import ArchiveResource, ClipPollingResource, ResultsApiResource
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.run_launcher import mark_this_process
from ut_clips_dagster.run_queue import OURS, POOL, by_hand_looker, is_batch, make_room

ORDER = (CLIP_LIST, CLIP_URLS, CLIP_FILES, CLIP_METADATA)
BACKFILL_SESSIONS_PER_RUN = 10
STOP_STARTING_AFTER_S = 5 * 3600.0
"""A batch begins no further session an hour before run monitoring ends its run (`max_runtime_seconds`: 6 h)."""
MAX_KEY = 80
"""Letters shown of a partition's key: a person may have typed anything."""

Context = AssetExecutionContext | OpExecutionContext
RunEvent = MaterializeResult[Any] | AssetCheckResult


@multi_asset(
    name="clip_assets",
    specs=clip_specs,
    check_specs=check_specs,
    can_subset=True,
    partitions_def=sessions,
    backfill_policy=BackfillPolicy.multi_run(BACKFILL_SESSIONS_PER_RUN),
    pool=POOL,
    op_tags=OURS,
)
def clip_assets(
    context: AssetExecutionContext,
    results_api: ResultsApiResource,
    clip_polling: ClipPollingResource,
    archive: ArchiveResource,
) -> Iterator[RunEvent]:
    """Archive the sessions of this run, and log each one's materializations the moment it is complete."""
    account = archive.account
    if not context.selected_asset_keys and not _has_partitions(context):  # checks alone
        known = [key for key in context.instance.get_dynamic_partitions(account.partitions) if is_uuid(key)]
        yield from check_results(context, archive, rotated(known), max_s=MAX_CHECK_S)
        return
    mark_this_process(context)
    selected = {key.path[-1] for key in context.selected_asset_keys}
    keys = list(context.partition_keys)
    errors = {key: told_as_no_session(key) for key in no_sessions(keys)}
    session_ids = [key for key in keys if key not in errors]
    alone = len(keys) == 1
    batch = batch_of(context.instance, context.run, account) if is_batch(context.run.tags) else None
    uri, steps = archive.store().uri, steps_for(selected)
    tells_plan = steps.relist and steps.download and not alone
    finished: dict[str, SessionResult] = {}
    with (
        stopping_silently(),
        results_api.client() as client,
        plan_and_cost(context, archive, session_ids, client.pacer) if tells_plan else nullcontext(),
    ):
        poller = clip_polling.poller(client, batch)
        pipeline = archive.pipeline(poller, results_api.api_url, ended_by_others(context.instance, context.run.run_id))
        for result in pipeline.run(session_ids, steps, time.monotonic() + STOP_STARTING_AFTER_S):
            if result.error:
                errors[result.session_id] = kept(result)
                context.log.error(f"Session {result.session_id} is unfinished. {errors[result.session_id]}")
                log_reason(context, result, selected, account)
            else:
                finished[result.session_id] = result
            if not alone or result.error or result.from_documents:
                log_result(context, result, selected, uri, archive)
    if alone and not errors:
        metadata = event_metadata(finished[keys[0]], uri, archive.gallery_url)
        yield from (MaterializeResult(asset_key=account.key(n), metadata=metadata[n]) for n in ORDER if n in selected)
    if context.selected_asset_check_keys:  # after the results, which they are about
        yield from check_results(context, archive, session_ids)
    if errors:
        raise failure(errors, len(keys))
    if not alone and _others_selected(context, account):
        yield from (MaterializeResult(asset_key=account.key(n)) for n in ORDER if n in selected)
        for result in finished.values():  # the outputs just logged every partition again, without its metadata
            log_result(context, result, selected, uri, archive)


def batch_of(instance: DagsterInstance, run: DagsterRun, account: Account) -> Batch:
    """What a batch asks the instance, and tells it."""
    return Batch(by_hand_looker(instance, account=account), lambda: make_room(instance, run.run_id, account))


def steps_for(selected: set[str]) -> Steps:
    """What the pipeline has to do when these assets are selected: each alone does the natural thing."""
    return Steps(
        relist=CLIP_LIST in selected,
        generate=bool(selected & {CLIP_URLS, CLIP_FILES}),
        download=CLIP_FILES in selected,
        request=bool(selected - {CLIP_METADATA}),
    )


def log_result(
    context: Context, result: SessionResult, selected: Container[str], uri: str, archive: ArchiveResource
) -> None:
    """Log what is there of a session as materialized, as far as it was selected."""
    metadata = event_metadata(result, uri, archive.gallery_url)
    for name in _materialized(result):
        if name in selected:
            context.log_event(
                AssetMaterialization(archive.account.key(name), partition=result.session_id, metadata=metadata[name])
            )


def log_reason(context: Context, result: SessionResult, selected: Container[str], account: Account) -> None:
    """Show on the failed partition itself what went wrong: an observation changes no status."""
    name = CLIP_FILES if CLIP_FILES in selected else next(n for n in ORDER if n in selected)
    metadata: dict[str, MetadataValue[Any] | bool] = {
        "unfinished": table(("why",), [(line,) for line in kept(result).splitlines()]),
        COSTS_A_TRY: result.costs_a_try,
    }
    context.log_event(AssetObservation(account.key(name), partition=result.session_id, metadata=metadata))


def _materialized(result: SessionResult) -> list[str]:
    """The assets that are really there for a session: never more than that."""
    if not result.error:
        return list(ORDER)
    return [CLIP_LIST] * result.listed + [CLIP_METADATA] * result.rows_written


def kept(result: SessionResult) -> str:
    """What is kept of an unfinished session, and why it is unfinished."""
    listed = len(result.record.clip_list.listed) if result.record.clip_list else 0
    stored = listed - len(result.record.missing)
    return f"{stored} of {listed} listed clips are stored and kept.\n{visible(result.error or '')}"


def failure(errors: dict[str, str], of: int) -> Failure:
    """The run's failure, that names each unfinished session."""
    lines = "\n".join(f"Session {one_line(key, MAX_KEY)}: {error}" for key, error in errors.items())
    advice = (
        "What is stored is kept and not requested again. The unfinished_sessions sensor tries these sessions again "
        "after 10 min, 1 h, 6 h and 24 h, and for as long as it takes where network, credentials or disk were the "
        "cause; or materialize the partitions by hand."
    )
    return Failure(
        description=f"{len(errors)} of {counted(of, 'session')} unfinished.\n{lines}\n{advice}",
        metadata={
            "unfinished_sessions": table(("session", "why"), list(errors.items())),
            "sessions_finished": of - len(errors),
        },
        allow_retries=False,
    )


def _has_partitions(context: AssetExecutionContext) -> bool:
    return context.has_partition_key or context.has_partition_key_range


def _others_selected(context: AssetExecutionContext, account: Account) -> bool:
    """Whether this run holds assets outside the four: they run only after outputs."""
    selection = context.run.asset_selection or context.job_def.asset_layer.executable_asset_keys
    ours = {account.key(name) for name in ORDER}
    return any(key not in ours for key in selection)
