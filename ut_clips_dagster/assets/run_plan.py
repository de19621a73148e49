"""What a batch will cost, told by tags of its run: before it sends a request, and again when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dagster import AssetExecutionContext

from ut_clips_dagster.archive.plan import duration
from ut_clips_dagster.errors import StorageError
from ut_clips_dagster.known_sessions import PLAN_COLUMNS, plan_for
from ut_clips_dagster.results_api.pacing import Pacer
from ut_clips_dagster.storage.metadata_table import MetadataTable

PLAN_TAG = "ut_clips/plan"
COST_TAG = "ut_clips/cost"


@contextmanager
def plan_and_cost(
    context: AssetExecutionContext, table: MetadataTable, session_ids: Sequence[str], pacer: Pacer
) -> Iterator[None]:
    """Tell the plan that `ut-clips plan` makes of these sessions, then what they did cost.

    Other runs at the same time make it longer than planned: they share the budget.
    """
    begun_at = time.monotonic()
    try:
        rows = table.read(columns=PLAN_COLUMNS)
    except StorageError as error:  # the sessions say so themselves; a plan is no reason to fail
        context.log.warning(f"There is no plan of this run: {error}")
    else:
        _tell(context, PLAN_TAG, str(plan_for(context.instance, rows, session_ids)))
    yield
    _tell(context, COST_TAG, f"{pacer.requests_sent} requests, {duration(time.monotonic() - begun_at)}")


def _tell(context: AssetExecutionContext, tag: str, text: str) -> None:
    context.instance.add_run_tags(context.run.run_id, {tag: text})
    context.log.info(f"{tag}: {text}")
