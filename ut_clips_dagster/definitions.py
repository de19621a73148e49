"""Assembles the code location; the only place that reads the environment for Dagster."""

from __future__ import annotations

import os

from dagster import AssetSelection, Definitions, EnvVar, define_asset_job, in_process_executor
from dagster_gcp import BigQueryResource, GCSResource

from ut_clips_dagster.assets import ClipMetadataIOManager, clip_assets, usertesting_sessions
from ut_clips_dagster.assets.bigquery import publications
from ut_clips_dagster.assets.clip_media import CLIP_MEDIA_FOLLOWS
from ut_clips_dagster.assets.clip_transcripts import CLIP_TRANSCRIPTS
from ut_clips_dagster.assets.follow_on import FollowOn
from ut_clips_dagster.assets.relist_job import relist_clips
from ut_clips_dagster.assets.session_transcripts import SESSION_TRANSCRIPTS
from ut_clips_dagster.assets.specs import IO_MANAGER
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.resources import ArchiveResource, ClipPollingResource, ResultsApiResource
from ut_clips_dagster.run_queue import FOLLOW_ON_TAG
from ut_clips_dagster.sensors import (
    follow_on_sensor,
    health_alerts_sensor,
    late_clips_sensor,
    new_sessions_sensor,
    old_runs_sensor,
    unfinished_sessions_sensor,
)
from ut_clips_dagster.settings import Settings, load_settings, placeholder_settings

JOB = "archive_clips"


def follow_ons(settings: Settings) -> list[FollowOn]:
    """What follows on the clips, in the order in which `ut-clips archive` makes it."""
    transcripts = [SESSION_TRANSCRIPTS, CLIP_TRANSCRIPTS] if settings.transcripts else []
    published = settings.bigquery_dataset
    return [
        CLIP_MEDIA_FOLLOWS,
        *transcripts,
        *(publications(bigquery_resource(settings), published, bool(transcripts)) if published else ()),
    ]


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
    )


def bigquery_resource(settings: Settings) -> BigQueryResource:
    """BigQuery, by application default credentials; jobs run in, and are paid by, the project of the dataset."""
    return BigQueryResource(project=settings.bigquery_dataset.rpartition(".")[0] or None)


def build_definitions(settings: Settings) -> Definitions:
    """The whole code location for these settings."""
    job = define_asset_job(
        JOB,
        AssetSelection.assets(clip_assets),
        description="Lists, generates, downloads and records the clips of sessions.",
    )
    following = follow_ons(settings)
    follow_on_jobs = [
        define_asset_job(
            f.job_name,
            AssetSelection.assets(f.asset),
            description=f"Makes {f.name} of sessions.",
            tags={FOLLOW_ON_TAG: f.turn},
        )
        for f in following
    ]
    results_api, archive = results_api_resource(settings), archive_resource(settings)
    return Definitions(
        assets=[usertesting_sessions, clip_assets, *(f.asset for f in following)],
        jobs=[job, relist_clips, *follow_on_jobs],
        executor=in_process_executor,  # with a process per step, a step outlives its killed run and overlaps the next
        sensors=[
            new_sessions_sensor(job, settings.discovery_interval_s, settings.batch_size),
            unfinished_sessions_sensor(job, settings.batch_size),
            late_clips_sensor(),
            old_runs_sensor(),
            *([health_alerts_sensor(settings.alert_urls, settings.test_ids)] if settings.alert_urls else []),
            *(follow_on_sensor(f, its_job) for f, its_job in zip(following, follow_on_jobs, strict=True)),
        ],
        resources={
            "results_api": results_api,
            "clip_polling": ClipPollingResource(
                api=results_api,
                poll_interval_s=settings.poll_interval_s,
                poll_max_attempts=settings.poll_max_attempts,
            ),
            "archive": archive,
            **({"bigquery": bigquery_resource(settings)} if settings.bigquery_dataset else {}),
            IO_MANAGER: ClipMetadataIOManager(archive=archive),
        },
    )


defs = build_definitions(settings_or_placeholder())
