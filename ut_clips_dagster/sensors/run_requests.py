"""Run requests for sessions: one run per contiguous piece, never a range that holds sessions nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dagster import RunRequest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PRIORITY_TAG,
)

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.run_queue import AT_WORK, BATCH_TAG

REASON_TAG = "ut_clips/reason"


def run_requests(  # noqa: PLR0913 - a pure function of all it depends on
    wanted: Iterable[str],
    order: Sequence[str],
    batch_size: int,
    priority: int,
    reason: str,
    *,
    in_turn: bool = True,
    account: Account = DEFAULT,
) -> Iterator[RunRequest]:
    """Runs for the wanted sessions.

    There is no run key: one that is always the same drops a later run for the same sessions silently.

    Args:
        wanted: partition keys; those not in `order` are left out.
        order: all partition keys in Dagster's order, in which a range tag is understood.
        batch_size: most sessions in one run.
        priority: `dagster/priority`; the larger goes first, and what a person launches has 0.
        reason: shown on the run, as the tag `ut_clips/reason`.
        in_turn: batches that ask the API run one at a time; False for what asks it nothing, or only what others leave.
        account: whose sessions; each account has a budget of its own, and its batches a turn of their own.
    """
    tags = {PRIORITY_TAG: str(priority), REASON_TAG: reason, **({BATCH_TAG: account.named(AT_WORK)} if in_turn else {})}
    for piece in pieces(wanted, order, batch_size):
        if len(piece) == 1:
            yield RunRequest(partition_key=piece[0], tags=tags)
        else:
            span = {ASSET_PARTITION_RANGE_START_TAG: piece[0], ASSET_PARTITION_RANGE_END_TAG: piece[-1]}
            yield RunRequest(tags={**tags, **span})


def pieces(wanted: Iterable[str], order: Sequence[str], batch_size: int) -> Iterator[list[str]]:
    """The wanted keys in pieces that are contiguous in `order`, of at most `batch_size`."""
    wanted = set(wanted)
    piece: list[str] = []
    for key in order:
        if key in wanted:
            piece.append(key)
        if piece and (key not in wanted or len(piece) == batch_size):
            yield piece
            piece = []
    if piece:
        yield piece
