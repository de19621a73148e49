"""What follows on the clips: assets of their own, behind everything that archives.

None of them can harm the four: they have jobs, a pool and sensors of their own, their runs wait behind all archiving
runs, and a session that fails here changes nothing of `clip_files`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetsDefinition,
    BackfillPolicy,
    DagsterInstance,
    Failure,
    MaterializeResult,
)

from ut_clips_dagster.account import DEFAULT, Account
from ut_clips_dagster.archive.run_watch import RunWatch
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.assets.clips import STOP_STARTING_AFTER_S
from ut_clips_dagster.assets.event_metadata import table
from ut_clips_dagster.assets.of_account import of_account
from ut_clips_dagster.assets.run_state import ended_by_others, stopping_silently
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.known_sessions import FOLLOW_ON_JOB, materialized_sessions, told_as_no_session
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.run_launcher import mark_this_process
from ut_clips_dagster.sensor_names import FOLLOW

BACKFILL = BackfillPolicy.multi_run(100)
"""A run costs seconds whatever it holds (docs/scale.md); a session of it some tenths of one."""

BATCH = 50
"""Sessions in one run that a sensor requests."""

MAX_TOLD = 50
"""Lines of a check's description."""

TIME_USED_UP = "Not begun, as the run's time is used up. The sensor requests it again."

RunEvent = MaterializeResult[Any] | AssetCheckResult
Problems = Mapping[str, Sequence[str]]
"""What is wrong, in words, by session; sessions without problems are left out."""
Lacking = Callable[[ArchiveResource, Sequence[str] | None], set[str]]
"""Which of these sessions (of all when None) lack it, and could have it now. It asks the archive's tables, not Dagster,
and must be quick with 100,000 sessions: it is called at most once a tick."""


@dataclass(frozen=True)
class FollowOn:
    """An asset that follows on others, session by session."""

    asset: AssetsDefinition
    after: tuple[str, ...]
    """Assets whose materializations it follows on."""
    lacking: Lacking
    look_again: timedelta = timedelta(hours=6)
    """How often the sensor asks what all known sessions lack: what failed, and what no event told of."""
    batch: int = BATCH
    """Sessions in one run that the sensor requests."""
    waits: Callable[[DagsterInstance, Account], bool] = lambda *_: False
    """While true, the sensor requests nothing; after that it looks through all sessions."""

    account: Account = DEFAULT

    def of(self, account: Account) -> FollowOn:
        """The same in another account."""
        return replace(self, asset=of_account(self.asset, account), account=account)

    def due(self, instance: DagsterInstance, archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
        """Sessions (of these, of all when None) that lack it, or of which Dagster shows it as missing for nothing.

        A session without clips lacks nothing; its partition is materialized all the same, so that what is missing
        in the UI is what is yet to be made.
        """
        shown = partial(materialized_sessions, instance, account=self.account, among=session_ids)
        missing = set.intersection(*map(shown, self.after)) - shown(self.name)
        return self.lacking(archive, session_ids) | missing

    @property
    def name(self) -> str:
        """The asset's name."""
        return "/".join(self._path)

    @property
    def job_name(self) -> str:
        """The job that the sensor and `ut-clips archive` run."""
        return self.account.named(f"{FOLLOW_ON_JOB}{'_'.join(self._path)}")

    @property
    def turn(self) -> str:
        """What it takes turns with: of an account's assets with one prefix, one run is under way at a time."""
        return self.account.named(self._path[0])

    @property
    def sensor_name(self) -> str:
        """The sensor that requests its runs."""
        return self.account.named(f"{FOLLOW}{'_'.join(self._path)}")

    @property
    def _path(self) -> Sequence[str]:
        return self.account.path(self.asset.key)


def materialize_each(  # noqa: PLR0913 - a session's making, and when it is to stop
    context: AssetExecutionContext,
    name: str,
    make: Callable[[str], Mapping[str, Any]],
    check: tuple[AssetCheckSpec, Callable[[], Problems]] | None = None,
    *,
    gives_way: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[RunEvent]:
    """The body of such an asset: make it for each session of the run, and log each the moment it is made.

    Sessions that fail do not stop the others; at the end Failure names each of them.

    Args:
        context: of the run.
        name: of the asset.
        make: makes one session's, and returns the metadata of its materialization; raises ClipsError.
        check: the asset's check, and what is wrong in the whole archive: a check has no partitions, and a run over
            other sessions must not show it as passed.
        gives_way: asked before each session; when true, the rest is left to a later run, without a failure.
        clock: monotonic seconds.
    """
    keys, asset_key = list(context.partition_keys), context.assets_def.key
    batch, stop_at = len(keys) > 1, clock() + STOP_STARTING_AFTER_S
    made: dict[str, Mapping[str, Any]] = {}
    errors: dict[str, str] = {}
    mark_this_process(context)
    watch = RunWatch(ended_by_others(context.instance, context.run.run_id), clock)
    for key in keys:
        with stopping_silently():
            watch.check()
        if gives_way():
            context.log.info(
                f"{len(keys) - len(made) - len(errors)} sessions are left to a later run: clips come first."
            )
            break
        metadata = _made(key, make) if clock() < stop_at else TIME_USED_UP
        if isinstance(metadata, str):
            errors[key] = metadata
            context.log.error(f"Session {key[:80]}: {name} was not made. {metadata}")
            context.log_event(AssetObservation(asset_key, partition=key, metadata={"unfinished": metadata}))
            continue
        made[key] = metadata
        if batch:
            context.log_event(AssetMaterialization(asset_key, partition=key, metadata=metadata))
    if made and not batch:
        yield MaterializeResult(asset_key=asset_key, metadata=made[keys[0]])
    if check and context.selected_asset_check_keys:  # Dagster wants a result of every run, also of one that gave way
        spec, problems = check
        yield _check_result(asset_key, spec.name, problems(), made, len(keys))
    if errors:
        raise _failure(name, errors, len(keys))
    if batch and _others_selected(context):
        yield MaterializeResult(asset_key=asset_key)  # assets behind this one run only after an output,
        for key, metadata in made.items():  # which logs every partition again, without its metadata
            context.log_event(AssetMaterialization(asset_key, partition=key, metadata=metadata))


def _made(key: str, make: Callable[[str], Mapping[str, Any]]) -> Mapping[str, Any] | str:
    """The metadata of one session's, or why it was not made."""
    if not is_uuid(key):
        return told_as_no_session(key)
    try:
        return make(key)
    except ClipsError as error:
        return str(error)


def _check_result(asset: AssetKey, name: str, problems: Problems, made: Collection[str], of: int) -> AssetCheckResult:
    """A warning at most: what is wrong changes nothing of the clips. Sessions of this run come first."""
    new_first = sorted(problems, key=lambda session_id: session_id not in made)
    lines = [f"Session {session_id}: {text}" for session_id in new_first for text in problems[session_id]]
    more = [f"… and {len(lines) - MAX_TOLD} more."] if len(lines) > MAX_TOLD else []
    well = [] if lines else ["No problem is known of any session."]
    looked_at = [f"{len(made)} of {counted(of, 'session')} looked at in this run."]
    return AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=not lines,
        severity=AssetCheckSeverity.WARN,
        description="\n".join([*lines[:MAX_TOLD], *more, *well, *looked_at]),
        metadata={"sessions": len(made), "sessions_left_out": of - len(made), "problems": len(lines)},
    )


def _failure(name: str, errors: Mapping[str, str], of: int) -> Failure:
    lines = "\n".join(f"Session {key[:80]}: {error}" for key, error in errors.items())
    advice = "The clips are not touched by this. The sensor requests these sessions again."
    return Failure(
        description=f"{name} of {len(errors)} of {counted(of, 'session')} was not made.\n{lines}\n{advice}",
        metadata={"unfinished_sessions": table(("session", "why"), list(errors.items()))},
        allow_retries=False,
    )


def _others_selected(context: AssetExecutionContext) -> bool:
    selection = context.run.asset_selection or context.job_def.asset_layer.executable_asset_keys
    return any(key != context.assets_def.key for key in selection)
