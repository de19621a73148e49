"""A host's location with a process per step, and one run of what a person materializes there.

python -m ut_clips_dagster_tests.crash.outliving SESSION_ID
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    execute_job,
    multiprocess_executor,
)
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.storage.tags import PARTITION_NAME_TAG

from ut_clips_dagster.components import build_definitions
from ut_clips_dagster.simulator import DEMO_TEST_ID

POLL_S = 0.5
MODULE = "ut_clips_dagster_tests.crash.outliving"
UI_JOB = "__ASSET_JOB"
"""The job of the UI's button Materialize."""


def location() -> Definitions:
    """The host's definitions and ours."""
    ours = build_definitions(
        account="research",
        test_ids=[DEMO_TEST_ID],
        archive=str(Path(os.environ["DAGSTER_HOME"]).parent / "archive"),
        client_id="demo",
        client_secret="demo",
        api_url=os.environ["SIMULATOR_URL"],
        token_url=f"{os.environ['SIMULATOR_URL']}/oauth2/token",
        poll_interval_s=POLL_S,
        poll_max_attempts=1000,
    )
    return Definitions.merge(Definitions(executor=multiprocess_executor), ours)


if __name__ == "__main__":
    with DagsterInstance.get() as instance:
        execute_job(
            ReconstructableRepository.for_module(MODULE, "location").get_reconstructable_job(UI_JOB),
            instance,
            tags={PARTITION_NAME_TAG: sys.argv[1]},
            asset_selection=[
                AssetKey(["research", name]) for name in ("clip_list", "clip_urls", "clip_files", "clip_metadata")
            ],
        )
