"""What a batch will cost, how far it is, and what it did cost: told by tags of its run, and in its log.

The plan is made from the run's own documents and Dagster's newest events, so that it takes no longer the more sessions
are known; `ut-clips plan` takes everything into account.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean

from dagster import AssetExecutionContext, AssetKey, AssetMaterialization, DagsterInstance

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.plan import REQUESTS_PER_WINDOW, SLOW_SHARE, WINDOW_S, History, Plan, plan
from ut_clips_dagster.archive.progress import Progress, watched_by
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.wording import counted, duration
from ut_clips_dagster.known_sessions import CLIP_LIST, CLIP_URLS
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.pacing import Pacer
from ut_clips_dagster.run_queue import PROGRESS_TAG

PLAN_TAG = "ut_clips/plan"
COST_TAG = "ut_clips/cost"
TELL_EVERY_S = 60.0
EVENTS = 50
"""So many sessions show what the next ones will be like."""


@contextmanager
def plan_and_cost(
    context: AssetExecutionContext, archive: ArchiveResource, session_ids: Sequence[str], pacer: Pacer
) -> Iterator[None]:
    """Tell what archiving these sessions will cost, then what it did cost.

    Other runs at the same time make it longer than planned: they share the budget.
    """
    begun_at = time.monotonic()
    planned = plan_of(context.instance, archive.records(), session_ids, archive.account)
    # a re-execution has its parent's tags
    _tell(context, {PLAN_TAG: str(planned), COST_TAG: "not done yet", PROGRESS_TAG: "begun"})
    told_at = begun_at

    def tell_progress(progress: Progress) -> None:
        nonlocal told_at
        if time.monotonic() >= told_at + TELL_EVERY_S:
            told_at = time.monotonic()
            _tell(context, {PROGRESS_TAG: progress_text(progress, planned)})

    with watched_by(tell_progress):
        yield
    _tell(context, {COST_TAG: f"{counted(pacer.requests_sent, 'request')}, {duration(time.monotonic() - begun_at)}"})


def progress_text(progress: Progress, planned: Plan) -> str:
    """How far a run is, and how long the rest takes by its plan."""
    left = planned.requests - progress.requests
    rest = f"about {duration(left * WINDOW_S / REQUESTS_PER_WINDOW)} left" if left > 0 else "longer than planned"
    return (
        f"{progress.sessions_done} of {counted(progress.sessions, 'session')}, "
        f"{progress.clips_stored} of {counted(progress.clips, 'clip')} found so far, "
        f"{progress.bytes_stored / 1e6:,.1f} MB; {rest}"
    )


def plan_of(
    instance: DagsterInstance, records: SessionRecords, session_ids: Sequence[str], account: Account = DEFAULT
) -> Plan:
    """The plan of a run over these sessions."""
    read = (record for _, record in records.read_all(session_ids))  # of a damaged one the run says what is wrong
    listed = [record for record in read if isinstance(record, SessionRecord) and record.clip_list]
    missing = sum(len(record.missing) for record in listed)
    return plan(_history(instance, account), len(session_ids), len(session_ids) - len(listed), missing)


def _history(instance: DagsterInstance, account: Account) -> History:
    clips = [_number(event, "clips") for event in _newest(instance, account.key(CLIP_LIST))]
    generated = [event for event in _newest(instance, account.key(CLIP_URLS)) if _number(event, "clips")]
    if not clips or not generated:
        return History()
    waited_s = sorted(_number(event, "waited_s_max") for event in generated)
    return History(
        fmean(clips),
        sum(_number(event, "requests") for event in generated) / sum(_number(event, "clips") for event in generated),
        waited_s[int(SLOW_SHARE * len(waited_s))],
    )


def _newest(instance: DagsterInstance, asset: AssetKey) -> list[AssetMaterialization]:
    records = instance.fetch_materializations(asset, EVENTS).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def _number(event: AssetMaterialization, name: str) -> float:
    value = event.metadata[name].value if name in event.metadata else None
    return float(value) if isinstance(value, int | float) else 0.0


def _tell(context: AssetExecutionContext, tags: dict[str, str]) -> None:
    context.instance.add_run_tags(context.run.run_id, tags)
    context.log.info("; ".join(f"{name}: {text}" for name, text in tags.items()))
