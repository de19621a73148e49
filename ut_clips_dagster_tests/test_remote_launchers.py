"""A directory is no archive where runs start elsewhere; a run that cannot ask its instance is not taken for ended."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus, build_init_resource_context
from dagster._core.test_utils import create_run_for_test
from dagster_gcp import GCSResource
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from ut_clips_dagster.assets.run_state import ended_by_others
from ut_clips_dagster.cli import app
from ut_clips_dagster.resources import ArchiveResource, ResourceSettingsError
from ut_clips_dagster.run_launcher import remote_launcher

OURS = ("ut_clips_dagster.run_launcher", "LocalRunLauncher")
KUBERNETES = ("dagster_k8s", "K8sRunLauncher")
NOT_INSTALLED = ("dagster_of_another_world", "RayRunLauncher")
REFUSED = "is a directory, but K8sRunLauncher starts each run on a machine or in a container of its own"


def instance(folder: Path, launcher: tuple[str, str] | None) -> DagsterInstance:
    folder.mkdir()
    given = {"run_launcher": {"module": launcher[0], "class": launcher[1]}} if launcher else {}
    (folder / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, **given}))
    return DagsterInstance.from_config(str(folder))


@pytest.mark.parametrize(
    ("launcher", "name"),
    [(None, None), (OURS, None), (KUBERNETES, "K8sRunLauncher"), (NOT_INSTALLED, "RayRunLauncher")],
)
def test_which_launchers_start_runs_elsewhere(
    tmp_path: Path, launcher: tuple[str, str] | None, name: str | None
) -> None:
    with instance(tmp_path / "home", launcher) as here:
        assert remote_launcher(here) == name


def test_a_directory_is_refused_before_anything_starts_and_a_bucket_is_not(tmp_path: Path) -> None:
    with instance(tmp_path / "home", KUBERNETES) as here:
        context = build_init_resource_context(instance=here)
        with pytest.raises(ResourceSettingsError, match=REFUSED):
            ArchiveResource(gcs=GCSResource(), root="/srv/clips").setup_for_execution(context)
        ArchiveResource(gcs=GCSResource(), root="s3://bucket/clips").setup_for_execution(context)


def test_commands_refuse_it_by_the_same_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance(tmp_path / "home", KUBERNETES).dispose()
    for name in ("USERTESTING_CLIENT_ID", "USERTESTING_CLIENT_SECRET"):
        monkeypatch.setenv(name, "demo")
    monkeypatch.setenv("USERTESTING_TEST_IDS", "3fa85f64-5717-4562-b3fc-2c963f66afa6")
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    said = CliRunner().invoke(app, ["check-settings"])
    assert said.exit_code == 1
    assert REFUSED in " ".join(said.output.split())


class Unreachable(Exception):  # noqa: N818 - as dagster-postgres names its own
    """What dagster-postgres raises, caused by SQLAlchemy's, when its tries are used up."""


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_run_that_cannot_ask_its_instance_goes_on_and_asks_again(
    monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    with DagsterInstance.ephemeral() as here:
        run = create_run_for_test(here, status=DagsterRunStatus.STARTED)
        ended = ended_by_others(here, run.run_id)

        def cut_off(run_id: str) -> None:
            error = OperationalError("select", {}, OSError(run_id))
            if wrapped:
                raise Unreachable from error
            raise error

        with monkeypatch.context() as cut:
            cut.setattr(here, "get_run_by_id", cut_off)
            assert not ended()
        here.report_run_failed(run)
        assert ended()


def test_a_defect_while_asking_is_not_taken_for_a_cut_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with DagsterInstance.ephemeral() as here:
        monkeypatch.setattr(here, "get_run_by_id", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ended_by_others(here, "run")()
