"""`bigquery/…`: the archive's tables and the view `clips`, published to a BigQuery dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    MetadataValue,
    multi_asset,
)
from dagster_gcp import BigQueryResource
from google.auth.exceptions import GoogleAuthError

from ut_clips_dagster.assets.follow_on import FollowOn, RunEvent, materialize_each
from ut_clips_dagster.assets.specs import GROUP, OWNERS, column_schema
from ut_clips_dagster.errors import ClipsError, WarehouseError
from ut_clips_dagster.partitions import sessions
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.results_api.models import is_uuid
from ut_clips_dagster.run_queue import FOLLOW_ON_POOL, OURS
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable
from ut_clips_dagster.warehouse.dataset import Dataset
from ut_clips_dagster.warehouse.publisher import Publisher
from ut_clips_dagster.warehouse.record import Published
from ut_clips_dagster.warehouse.view import View

PREFIX = "bigquery"
BATCH = 1_000
"""Sessions in one load job and one transaction, and in one run: BigQuery takes seconds for them, however many."""

PublishBatch = Callable[[Sequence[str]], Mapping[str, Published]]
Opener = Callable[[Dataset, ArchiveResource, AssetExecutionContext], PublishBatch]


def publications(bigquery: BigQueryResource, dataset: str, transcripts: bool) -> list[FollowOn]:
    """What is published to a dataset, the view last; without transcripts, their table is left as it is.

    Args:
        bigquery: gives the client to the sensors; runs have it as the resource of that name.
        dataset: project.dataset.
        transcripts: whether there is an asset `clip_transcripts`.
    """
    tables: list[type[SessionTable]] = [MetadataTable, MediaTable, *([TranscriptsTable] if transcripts else [])]
    published = [_table(bigquery, dataset, table) for table in tables]
    return [*published, _view(bigquery, dataset, [follow_on.name for follow_on in published])]


def _table(bigquery: BigQueryResource, dataset: str, table: type[SessionTable]) -> FollowOn:
    def publisher_of(there: Dataset, archive: ArchiveResource) -> Publisher:
        return Publisher(there, table(archive.store().uri), archive.account.name)

    def opener(there: Dataset, archive: ArchiveResource, context: AssetExecutionContext) -> PublishBatch:
        publisher = publisher_of(there, archive)

        def publish(session_ids: Sequence[str]) -> Mapping[str, Published]:
            outcome = publisher.publish(session_ids)
            context.log.info(f"Rows of {len(outcome.written)} of {len(session_ids)} sessions were written.")
            if outcome.withdrawn:
                context.log.info(f"Rows of {len(outcome.withdrawn)} sessions that the archive has no more are gone.")
            return outcome.published

        return publish

    def lacking(archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
        with _opened(bigquery, dataset) as there:
            return publisher_of(there, archive).lacking(session_ids)

    asset = _asset(
        dataset,
        table.name,
        [table.name],
        table.schema,
        f"The rows of `{table.name}` in BigQuery, equal to the archive's. Only what changed is written: by one load "
        "job and one transaction for all sessions of a run.",
        opener,
    )
    return FollowOn(asset, after=(table.name,), lacking=lacking, batch=BATCH)


def _view(bigquery: BigQueryResource, dataset: str, tables: Sequence[str]) -> FollowOn:
    def opener(there: Dataset, archive: ArchiveResource, _context: AssetExecutionContext) -> PublishBatch:
        return View(there, archive.account.name).publish

    def lacking(archive: ArchiveResource, session_ids: Sequence[str] | None) -> set[str]:
        with _opened(bigquery, dataset) as there:
            return View(there, archive.account.name).lacking(session_ids)

    asset = _asset(
        dataset,
        clips_view.VIEW,
        tables,
        clips_view.SCHEMA,
        f"A view in BigQuery. {clips_view.COMMENT} Materialized means: it shows one row per clip that was published.",
        opener,
    )
    return FollowOn(asset, after=tuple(tables), lacking=lacking, batch=BATCH)


def _asset(  # noqa: PLR0913, PLR0917 - what two kinds of asset differ in
    dataset: str, name: str, deps: Sequence[str], schema: pa.Schema, description: str, opener: Opener
) -> AssetsDefinition:
    key = AssetKey([PREFIX, name])

    @multi_asset(
        name=f"{PREFIX}_{name}",
        specs=[
            AssetSpec(
                key,
                deps=[AssetKey.from_user_string(dep) for dep in deps],
                description=description,
                metadata={"dagster/column_schema": column_schema(schema)},
                kinds={"bigquery", "table"},
                partitions_def=sessions,
                group_name=GROUP,
                owners=OWNERS,
                skippable=True,
            )
        ],
        backfill_policy=BackfillPolicy.multi_run(BATCH),
        pool=FOLLOW_ON_POOL,
        op_tags=OURS,
    )
    def publish(
        context: AssetExecutionContext, archive: ArchiveResource, bigquery: BigQueryResource
    ) -> Iterator[RunEvent]:
        with _opened(bigquery, dataset) as there:
            by_session = in_batches(context.partition_keys, opener(there, archive, context))
            yield from materialize_each(
                context, key.to_user_string(), lambda session: _metadata(dataset, name, by_session(session))
            )

    return publish


def in_batches(keys: Sequence[str], publish: PublishBatch) -> Callable[[str], Published]:
    """Publishes a session together with those that come after it, so that the next ones are published already.

    Where it fails, it fails so for each session of the batch, and is tried once.
    """
    order = [key for key in keys if is_uuid(key)]
    done: dict[str, Published | ClipsError] = {}

    def by_session(session_id: str) -> Published:
        if session_id not in done:
            at = order.index(session_id)
            batch = order[at : at + BATCH]
            try:
                done.update(publish(batch))
            except ClipsError as error:
                done.update(dict.fromkeys(batch, error))
        outcome = done[session_id]
        if isinstance(outcome, ClipsError):
            raise outcome
        return outcome

    return by_session


def _metadata(dataset: str, table: str, published: Published) -> dict[str, Any]:
    project, _, name = dataset.rpartition(".")
    url = f"https://console.cloud.google.com/bigquery?p={project}&d={name}&t={table}&page=table"
    return {
        "rows": published.rows,
        "digest": published.digest,
        "dagster/partition_row_count": published.rows,
        "dagster/table_name": f"{dataset}.{table}",
        "dagster/storage_kind": "bigquery",
        "in_the_console": MetadataValue.url(url),
    }


@contextmanager
def _opened(bigquery: BigQueryResource, dataset: str) -> Iterator[Dataset]:
    try:
        with bigquery.get_client() as client:
            yield Dataset(client, dataset)
    except GoogleAuthError as error:
        raise WarehouseError(
            f"There are no credentials for BigQuery ({type(error).__name__}). Set up application default credentials, "
            "or unset UT_CLIPS_BIGQUERY_DATASET: see docs/warehouse.md."
        ) from error
