"""Assembles the code location; the only place that reads the environment for Dagster."""

from __future__ import annotations

import os

from dagster import AssetSelection, Definitions, EnvVar, define_asset_job, in_process_executor
from dagster_gcp import BigQueryResource, GCSResource

from ut_clips_dagster.account import ARCHIVE, ARCHIVE_JOB, BIGQUERY, CLIP_POLLING, DEFAULT, RESULTS_API, Account
from ut_clips_dagster.assets import ClipMetadataIOManager, clip_assets, usertesting_sessions
from ut_clips_dagster.assets.bigquery import publications
from ut_clips_dagster.assets.clip_media import CLIP_MEDIA_FOLLOWS
from ut_clips_dagster.assets.clip_transcripts import CLIP_TRANSCRIPTS
from ut_clips_dagster.assets.follow_on import FollowOn
from ut_clips_dagster.assets.of_account import of_account
from ut_clips_dagster.assets.relist_job import relist_job
from ut_clips_dagster.assets.session_transcripts import SESSION_TRANSCRIPTS
from ut_clips_dagster.assets.specs import IO_MANAGER
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.resources import ArchiveResource, ClipPollingResource, ResultsApiResource
from ut_clips_dagster.run_queue import FOLLOW_ON_TAG
from ut_clips_dagster.sensor_names import sensors_of
from ut_clips_dagster.sensors import (
    follow_on_sensor,
    health_alerts_sensor,
    late_clips_sensor,
    new_sessions_sensor,
    old_runs_sensor,
    unfinished_sessions_sensor,
)
from ut_clips_dagster.settings import Settings, load_settings, placeholder_settings

JOB = ARCHIVE_JOB


def follow_ons(settings: Settings, account: Account = DEFAULT) -> list[FollowOn]:
    """What follows on the clips, in the order in which `ut-clips archive` makes it."""
    transcripts = [SESSION_TRANSCRIPTS, CLIP_TRANSCRIPTS] if settings.transcripts else []
    published = settings.bigquery_dataset
    following = [
        CLIP_MEDIA_FOLLOWS,
        *transcripts,
        *(publications(bigquery_resource(settings), published, bool(transcripts)) if published else ()),
    ]
    return [follow_on.of(account) for follow_on in following]


def settings_or_placeholder() -> Settings:
    """The settings; where they are wrong the location still loads, and every run and tick says what is wrong."""
    try:
        return load_settings()
    except SettingsError:
        return placeholder_settings()


def secret(name: str) -> str:
    """A secret by reference: Dagster shows its name, never its value."""
    return EnvVar(name) if os.environ.get(name) else ""


def results_api_resource(settings: Settings) -> ResultsApiResource:
    """The API for these settings; its credentials are references to the environment."""
    return ResultsApiResource(
        api_url=settings.api_url,
        token_url=settings.token_url,
        client_id=secret("USERTESTING_CLIENT_ID"),
        client_secret=secret("USERTESTING_CLIENT_SECRET"),
        test_ids=list(settings.test_ids),
    )


def archive_resource(settings: Settings) -> ArchiveResource:
    """The archive for these settings."""
    return ArchiveResource(
        gcs=GCSResource(),
        root=settings.archive,
        gallery_url=settings.gallery_url,
        max_clip_bytes=settings.max_clip_bytes,
        media_allowed_hosts=list(settings.media_allowed_hosts),
        account_name=settings.account,
        key_prefix=list(settings.key_prefix),
    )


def bigquery_resource(settings: Settings) -> BigQueryResource:
    """BigQuery, by application default credentials; jobs run in, and are paid by, the project of the dataset."""
    return BigQueryResource(project=settings.bigquery_dataset.rpartition(".")[0] or None)


def build_definitions(settings: Settings) -> Definitions:
    """The whole code location for these settings."""
    return Definitions.merge(
        definitions_of(Account.of(settings), settings, results_api_resource(settings)),
        # what a person materializes is in one process, too; and the instance is ours, so we may prune all of it
        Definitions(executor=in_process_executor, sensors=[old_runs_sensor()]),
    )


def definitions_of(account: Account, settings: Settings, results_api: ResultsApiResource) -> Definitions:
    """All of one account, and nothing that reaches beyond it: a host's location takes it in (`components.py`)."""
    clips = of_account(clip_assets, account)
    job = define_asset_job(
        account.named(JOB),
        AssetSelection.assets(clips),
        description="Lists, generates, downloads and records the clips of sessions.",
        executor_def=in_process_executor,  # no process to begin for each step, and none that outlives a killed run
    )
    following = follow_ons(settings, account)
    follow_on_jobs = [
        define_asset_job(
            f.job_name,
            AssetSelection.assets(f.asset),
            description=f"Makes {f.name} of sessions.",
            tags={FOLLOW_ON_TAG: f.turn},
            executor_def=in_process_executor,
        )
        for f in following
    ]
    archive = archive_resource(settings)
    alerts = (
        [health_alerts_sensor(settings.alert_urls, settings.test_ids, sensors_of(settings), account)]
        if settings.alert_urls
        else []
    )
    resources = {
        RESULTS_API: results_api,
        CLIP_POLLING: ClipPollingResource(
            api=results_api,
            poll_interval_s=settings.poll_interval_s,
            poll_max_attempts=settings.poll_max_attempts,
        ),
        ARCHIVE: archive,
        **({BIGQUERY: bigquery_resource(settings)} if settings.bigquery_dataset else {}),
        IO_MANAGER: ClipMetadataIOManager(archive=archive),
    }
    return Definitions(
        assets=[account.spec(usertesting_sessions), clips, *(f.asset for f in following)],
        jobs=[job, relist_job(account), *follow_on_jobs],
        sensors=[
            new_sessions_sensor(job, settings.discovery_interval_s, settings.batch_size, account),
            unfinished_sessions_sensor(job, settings.batch_size, account),
            late_clips_sensor(account),
            *alerts,
            *(follow_on_sensor(f, its_job) for f, its_job in zip(following, follow_on_jobs, strict=True)),
        ],
        resources={account.named(key): resource for key, resource in resources.items()},
    )


defs = build_definitions(settings_or_placeholder())
