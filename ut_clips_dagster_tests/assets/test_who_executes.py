"""Every run of ours says who executes it, so that run monitoring finds out when nobody does any more."""

from __future__ import annotations

from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import follow_ons
from ut_clips_dagster.run_launcher import this_process, worker_of
from ut_clips_dagster_tests.platform import TestPlatform


def test_each_job_of_ours_notes_the_process_that_executes_it(platform: TestPlatform) -> None:
    (session_id, *_) = platform.add_partitions(platform.sessions()[:1])
    follow_on_jobs = [follow_on.job_name for follow_on in follow_ons(platform.settings)]

    assert platform.run(session_id).success
    assert platform.relist([session_id]).success
    for name in follow_on_jobs:
        job = platform.definitions.resolve_job_def(name)
        assert job.execute_in_process(instance=platform.instance, partition_key=session_id, run_config=QUIET).success

    workers = {run.job_name: worker_of(run) for run in platform.instance.get_runs()}
    assert workers == dict.fromkeys({"archive_clips", "relist_clips", *follow_on_jobs}, this_process())
