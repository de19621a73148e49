"""The job of `late_clips`: one run lists any sessions again, wherever they stand in Dagster's order.

An asset job's run over partitions takes a range, so scattered sessions would each need a run of their own; and each
session would leave sixteen events, where nearly always nothing has changed. This run says so with one.
"""

import time
from collections.abc import Sequence
from typing import Any

from dagster import (
    AssetObservation,
    Config,
    JobDefinition,
    MetadataValue,
    OpExecutionContext,
    in_process_executor,
    job,
    op,
)

from ut_clips_dagster.account import ARCHIVE, CLIP_POLLING, DEFAULT, RESULTS_API, Account
from ut_clips_dagster.archive.documents import SessionRecord, same_clips
from ut_clips_dagster.archive.session_work import SessionResult, Steps
from ut_clips_dagster.assets.clips import (
    ORDER,
    STOP_STARTING_AFTER_S,
    batch_of,
    failure,
    kept,
    log_reason,
    log_result,
)
from ut_clips_dagster.assets.run_state import ended_by_others, stopping_silently
from ut_clips_dagster.known_sessions import CLIP_LIST, RELIST, RELIST_OP, no_sessions, told_as_no_session
from ut_clips_dagster.resources import ArchiveResource, ClipPollingResource, ResultsApiResource
from ut_clips_dagster.run_launcher import mark, this_process
from ut_clips_dagster.run_queue import OURS, POOL


class Relist(Config):
    """What to list again."""

    sessions: list[str]
    """Partition keys, in any order."""


def relist(
    context: OpExecutionContext,
    sessions: Sequence[str],
    results_api: ResultsApiResource,
    clip_polling: ClipPollingResource,
    archive: ArchiveResource,
) -> None:
    """List sessions again, and store what is new; an event says of each what changed."""
    mark(context.instance, context.run_id, this_process())
    account = archive.account
    errors = {key: told_as_no_session(key) for key in no_sessions(sessions)}
    session_ids = [key for key in sessions if key not in errors]
    before: dict[str, SessionRecord] = {}
    uri = archive.store().uri
    with stopping_silently(), results_api.client() as client:
        poller = clip_polling.poller(client, batch_of(context.instance, context.run, account))
        pipeline = archive.pipeline(poller, results_api.api_url, ended_by_others(context.instance, context.run_id))
        for result in pipeline.run(session_ids, Steps(), time.monotonic() + STOP_STARTING_AFTER_S):
            if result.from_documents:  # it is shown as done, and stays so whatever becomes of this run
                before[result.session_id] = result.record
                continue
            if result.error:
                errors[result.session_id] = kept(result)
                log_reason(context, result, ORDER, account)
            if _is_unchanged(result, before.get(result.session_id)):
                _log_unchanged(context, result, account)
            else:
                log_result(context, result, ORDER, uri, archive)
    if errors:
        raise failure(errors, len(sessions))


def relist_job(account: Account = DEFAULT) -> JobDefinition:
    """The job of an account; see `relist`."""
    resources = (RESULTS_API, CLIP_POLLING, ARCHIVE)

    @op(
        name=account.named(RELIST_OP),
        pool=account.named(POOL),
        tags=OURS,
        required_resource_keys={account.named(key) for key in resources},
    )
    def relist_op(context: OpExecutionContext, config: Relist) -> None:
        relist(context, config.sessions, *(account.resource(context, key) for key in resources))

    @job(
        name=account.named(RELIST),
        executor_def=in_process_executor,
        description="Lists finished sessions again: new, edited and deleted clips. Requested by late_clips.",
    )
    def relist_clips() -> None:
        relist_op()

    return relist_clips


def _is_unchanged(result: SessionResult, before: SessionRecord | None) -> bool:
    return not result.error and not result.clips_stored and before is not None and same_clips(before, result.record)


def _log_unchanged(context: OpExecutionContext, result: SessionResult, account: Account) -> None:
    listing = result.record.clip_list
    if listing is None:
        return
    metadata: dict[str, Any] = {
        "unchanged": True,
        "clips": len(listing.listed),
        "listed_at": MetadataValue.timestamp(listing.listed_at),
    }
    context.log_event(AssetObservation(account.key(CLIP_LIST), partition=result.session_id, metadata=metadata))
