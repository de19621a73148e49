"""What `ut-clips archive` makes after the clips; it has no say in how the command ends."""

from __future__ import annotations

from collections.abc import Sequence

from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import console, errors, say
from ut_clips_dagster.cli.platform import Platform
from ut_clips_dagster.cli.runs import run_job
from ut_clips_dagster.definitions import follow_ons
from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.sensors.run_requests import pieces


def make_follow_ons(platform: Platform, only: Sequence[str] | None, order: Sequence[str]) -> None:
    """Make of these sessions (of all when None) what follows on their clips and is due; failures are told."""
    for follow_on in follow_ons(platform.settings, platform.account):
        try:
            due = follow_on.due(platform.instance, platform.archive, only)
        except ClipsError as error:
            say(f"{follow_on.name}: {error}", to=errors)
            continue
        wanted = list(pieces(due, order, len(order)))
        number = sum(map(len, wanted))
        if not number:
            continue
        with console.status(f"{follow_on.name} of {counted(number, 'session')}"):
            failures = [text for piece in wanted for text in run_job(platform, follow_on.job_name, piece)]
        for failure in failures:
            say(failure, to=errors)
        if not failures:
            console.print(f"{follow_on.name}: {counted(number, 'session')}.", highlight=False)
