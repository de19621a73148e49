"""`ut-clips prune`: old runs out of Dagster's storage."""

from __future__ import annotations

from datetime import timedelta

from ut_clips_dagster.cli.console import console
from ut_clips_dagster.cli.platform import open_instance
from ut_clips_dagster.pruning import prune
from ut_clips_dagster.results_api.models import now_utc


def prune_runs(keep_days: int) -> None:
    """Take out the runs of so many days ago and before; what every partition shows stays."""
    with open_instance() as instance, console.status("Pruning; it may be interrupted, and gone on with"):
        pruned = prune(instance, now_utc() - timedelta(days=keep_days))
    console.print(str(pruned), highlight=False)
