"""The same archive, in Google Cloud Storage: clips, documents and the Delta table."""

from __future__ import annotations

from pathlib import Path

import pytest

from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer, media_file
from ut_clips_dagster_tests.cli.conftest import SCALE
from ut_clips_dagster_tests.cli.test_commands import invoke
from ut_clips_dagster_tests.gcs_emulator import GcsEmulator


@pytest.mark.long
def test_an_archive_in_a_bucket_holds_every_clip_and_row_and_verifies(
    gcs_emulator: GcsEmulator, gcs_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SimulatorServer(SimulatorConfig(sessions=3, clips_total=4, time_scale=SCALE, rate_limit=100)) as simulator:
        settings = {
            **simulator.environment,
            "UT_CLIPS_ARCHIVE": f"gs://{gcs_bucket}/some/prefix",
            "UT_CLIPS_POLL_INTERVAL_S": str(3 / SCALE),
            "DAGSTER_HOME": str(tmp_path / "home"),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

        code, output = invoke("archive")

        assert (code, "3 of 3 sessions archived: 4 clips" in output) == (0, True), output
        stored = {
            blob.name.rsplit("/", 1)[-1].removesuffix(".mp4"): blob.download_as_bytes()
            for blob in gcs_emulator.storage_client().list_blobs(gcs_bucket, prefix="some/prefix/clips/")
            if blob.name.endswith(".mp4")
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
