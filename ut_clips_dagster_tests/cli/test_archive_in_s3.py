"""The same archive, in S3: clips, documents and the Delta table."""

from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer, media_file
from ut_clips_dagster_tests.cli.conftest import SCALE
from ut_clips_dagster_tests.cli.test_commands import invoke
from ut_clips_dagster_tests.s3_emulator import S3Emulator


@pytest.mark.long
@pytest.mark.parametrize("s3_emulator", ["moto", "ministack"], indirect=True)
def test_an_archive_in_a_bucket_holds_every_clip_and_row_and_verifies(
    s3_emulator: S3Emulator, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SimulatorServer(SimulatorConfig(sessions=3, clips_total=4, time_scale=SCALE, rate_limit=100)) as simulator:
        settings = {
            **simulator.environment,
            "UT_CLIPS_ARCHIVE": f"s3://{s3_bucket}/some/prefix",
            "UT_CLIPS_POLL_INTERVAL_S": str(3 / SCALE),
            "DAGSTER_HOME": str(tmp_path / "home"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

        code, output = invoke("archive")

        assert (code, "3 of 3 sessions archived: 4 clips" in output) == (0, True), output
        client = s3_emulator.client()
        objects = client.list_objects_v2(Bucket=s3_bucket, Prefix="some/prefix/clips/")["Contents"]
        stored = {
            item["Key"].rsplit("/", 1)[-1].removesuffix(".mp4"): client.get_object(Bucket=s3_bucket, Key=item["Key"])[
                "Body"
            ].read()
            for item in objects
            if item["Key"].endswith(".mp4")
        }
        world = simulator.world
        assert stored == {
            clip.clip_uuid: media_file(world.render(clip)).read()
            for session in world.sessions()
            for clip in world.clips(session.session_id)
        }
    code, output = invoke("sql", "select status, count(*) as n from clip_metadata group by 1", "--format", "csv")
    assert (code, output) == (0, "status,n\nSTORED,4\n")
    code, output = invoke("verify", "--read-data")
    assert code == 0, output

    code, output = invoke("copy", f"s3://{s3_bucket}/some/prefix", str(tmp_path / "here"))
    assert (code, f"Next: set UT_CLIPS_ARCHIVE={tmp_path / 'here'}" in output) == (0, True), output
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / "here"))
    code, output = invoke("verify", "--read-data")
    assert (code, "3 sessions verified" in output) == (0, True), output
