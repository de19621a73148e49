"""In a host's location: nothing shares a name with the host's, or with another account's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetKey,
    Component,
    ConfigurableResource,
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    DynamicPartitionsDefinition,
    EnvVar,
    OpDefinition,
    RepositoryDefinition,
    asset,
    build_sensor_context,
    multiprocess_executor,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster.components.testing import create_defs_folder_sandbox
from pydantic import ValidationError

from ut_clips_dagster.account import Account
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.cli.status import read_status
from ut_clips_dagster.components import UserTestingClipsComponent, build_definitions
from ut_clips_dagster.definitions import defs as own_location
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.run_queue import OURS
from ut_clips_dagster.simulator import DEMO_TEST_ID, Operation, SimulatorConfig, SimulatorServer
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable

FIVE_LINES = f"""\
type: ut_clips_dagster.components.UserTestingClipsComponent
attributes:
  account: research
  test_ids: [{DEMO_TEST_ID}]
  archive: data
"""
ALL = {"bigquery_dataset": "project.dataset", "alert_urls": ["json://127.0.0.1"]}
"""Everything that there can be."""
CLIPS = ("clip_list", "clip_urls", "clip_files", "clip_metadata")


class Archive(ConfigurableResource[None]):
    """The host's own, which has nothing to do with ours."""

    folder: str = "theirs"


@asset(partitions_def=DynamicPartitionsDefinition(name="sessions"))
def clip_list(archive: Archive) -> str:
    """The host's asset, called like one of ours."""
    return archive.folder


def host() -> Definitions:
    return Definitions(assets=[clip_list], resources={"archive": Archive()}, executor=multiprocess_executor)


def embedded(account: str, **attributes: Any) -> Definitions:
    given = {"archive": f"data/{account}", **attributes}
    return build_definitions(account=account, test_ids=[DEMO_TEST_ID], **given)


def names(repository: RepositoryDefinition) -> dict[str, set[str]]:
    """All that a location calls by a name; what is Dagster's own (`__ASSET_JOB`, `io_manager`) left out."""
    graph = repository.asset_graph
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    ops = {node.name: node for job in repository.get_all_jobs() for node in job.nodes}
    pools = {str(getattr(node.definition, "pool", None)) for node in ops.values()} - {"None"}
    return {
        "assets": {node.key.to_user_string() for node in nodes},
        "partitions": {str(getattr(node.partitions_def, "name", "")) for node in nodes},
        "groups": {str(node.group_name) for node in nodes} - {"default"},
        "jobs": {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")},
        "sensors": {sensor.name for sensor in repository.sensor_defs},
        "resources": set(repository.get_top_level_resources()) - {"io_manager"},
        "ops": {str(name) for name in ops},
        "pools": pools,
    }


def test_a_host_and_two_accounts_share_no_name() -> None:
    theirs = names(host().get_repository_def())
    one, two = (names(embedded(name, **ALL).get_repository_def()) for name in ("research", "sales"))
    ours = names(own_location.get_repository_def())

    for kind, of_one in one.items():
        assert of_one, kind
        assert not of_one & (theirs[kind] | two[kind] | ours[kind]), kind
    assert {"research/bigquery/clips", "research/session_transcripts"} <= one["assets"]
    assert {"research_health_alerts", "research_old_runs", "research_follow_bigquery_clips"} <= one["sensors"]
    together = Definitions.merge(host(), embedded("research", **ALL), embedded("sales", **ALL))
    assert names(together.get_repository_def()) == {kind: theirs[kind] | one[kind] | two[kind] for kind in one}


@pytest.mark.parametrize("account", ["", "research"])
def test_every_op_of_ours_in_a_pool_is_told_from_a_hosts(account: str) -> None:
    """The run queue tags its runs."""
    ops = {
        node.definition for job in embedded(account, **ALL).get_repository_def().get_all_jobs() for node in job.nodes
    }
    in_pools = [op for op in ops if isinstance(op, OpDefinition) and op.pool]
    assert len(in_pools) == 2 + 3 + 4
    assert all(op.tags.items() >= OURS.items() for op in in_pools)


def test_the_unnamed_account_is_called_as_our_own_location() -> None:
    assert names(embedded("", transcripts=False).get_repository_def()) == names(own_location.get_repository_def())


def test_our_jobs_are_in_process_and_the_host_keeps_its_executor() -> None:
    together = Definitions.merge(host(), embedded("research"))
    Definitions.validate_loadable(together)
    executors = {job.name: job.executor_def.name for job in together.get_repository_def().get_all_jobs()}

    assert executors.pop("__ASSET_JOB") == "multiprocess"
    assert executors.keys() >= {"research_archive_clips", "research_relist_clips", "research_make_clip_media"}
    assert set(executors.values()) == {"in_process"}


def test_a_key_prefix_and_sensors_that_wait_for_a_person() -> None:
    repository = embedded("research", key_prefix=["raw", "ut"], sensors=False).get_repository_def()

    assert {key.path[0] for key in repository.asset_graph.get_all_asset_keys()} == {"raw"}
    assert repository.asset_graph.get(AssetKey(["raw", "ut", "clip_files"])).parent_keys == {
        AssetKey(["raw", "ut", "clip_urls"])
    }
    assert {sensor.default_status for sensor in repository.sensor_defs} == {DefaultSensorStatus.STOPPED}


def test_credentials_come_by_name_or_by_value_and_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERTESTING_CLIENT_SECRET", "of somebody else")
    monkeypatch.setenv("THEIR_SECRET", "by name")
    by_name = embedded("one", client_id="me", client_secret=EnvVar("THEIR_SECRET")).resources or {}
    by_value = embedded("two", client_id="me", client_secret="hush").resources or {}

    assert by_name["one_results_api"].process_config_and_initialize().secret == "by name"
    assert by_value["two_results_api"].process_config_and_initialize().secret == "hush"
    assert "hush" not in repr(by_value["two_results_api"])
    component = UserTestingClipsComponent(test_ids=[DEMO_TEST_ID], archive="data", client_secret="hush")
    assert "hush" not in repr(component)
    with pytest.raises(ValidationError) as lacking:
        build_definitions(test_ids=[DEMO_TEST_ID], client_secret="hush")
    assert "archive" in str(lacking.value)
    assert "hush" not in str(lacking.value)


@pytest.mark.parametrize(
    ("empty", "named"),
    [
        ({"client_id": "", "client_secret": None}, ["client_id", "client_secret"]),
        ({"client_id": "me", "client_secret": " \n"}, ["client_secret"]),
        ({"client_id_env": " ", "client_secret": "hush"}, ["client_id"]),
        ({"archive": " ", "client_id": "me", "client_secret": "hush"}, ["archive"]),
    ],
)
def test_what_is_given_but_empty_is_not_taken_from_another_account(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, Any], named: list[str]
) -> None:
    for name in ("USERTESTING_CLIENT_ID", "USERTESTING_CLIENT_SECRET"):
        monkeypatch.setenv(name, "of another account")
    with pytest.raises(SettingsError) as refused:
        embedded("sales", **empty)
    assert str(refused.value).splitlines()[1:] == [f"  {name}: must not be empty" for name in named]


def test_a_variable_that_is_empty_in_a_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_ID", " ")
    sales = embedded("sales", client_id=EnvVar("THEIR_ID"), client_secret="hush").resources or {}
    with pytest.raises(SettingsError, match=r"^Empty in the environment of this process: THEIR_ID\.$"):
        sales["sales_results_api"].process_config_and_initialize().check()


def test_everything_wrong_is_named_at_once_and_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UT_CLIPS_BATCH_SIZE", "none")
    embedded("research")

    with pytest.raises(SettingsError) as wrong:
        build_definitions(test_ids=["one"], archive="ftp://host", batch_size=0)
    assert all(f"\n  {name}: " in str(wrong.value) for name in ("test_ids", "archive", "batch_size"))
    with pytest.raises(SettingsError) as wrong:
        embedded("Sales Team", key_prefix=["a/b"])
    assert "\n  account: must be at most 30 letters" in str(wrong.value)
    assert "\n  key_prefix: must be of letters" in str(wrong.value)


@contextmanager
def of_yaml(text: str) -> Iterator[tuple[Component, Definitions]]:
    """The component of a project's defs.yaml, and its definitions."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=UserTestingClipsComponent)
        (path / "defs.yaml").write_text(text)
        with sandbox.load_component_and_build_defs(defs_path=path) as loaded:
            yield loaded


loads_yaml = pytest.mark.filterwarnings(
    "ignore:`parse_obj_as` is deprecated", "ignore::dagster_shared.utils.warnings.BetaWarning"
)


@loads_yaml
def test_five_lines_of_yaml_make_it_in_a_project() -> None:
    with of_yaml(FIVE_LINES) as (component, found):
        assert isinstance(component, UserTestingClipsComponent)
        assert names(found.get_repository_def()) == names(embedded("research").get_repository_def())


@loads_yaml
def test_a_template_of_a_variable_that_is_not_set_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERTESTING_CLIENT_SECRET", "of another account")
    with (
        pytest.raises(Exception, match="UserTestingClipsComponent") as refused,
        of_yaml(FIVE_LINES + "  client_secret: '{{ env.NOT_SET }}'"),
    ):
        pass
    assert "client_secret: must not be empty" in str(refused.value.__cause__)


@loads_yaml
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("client_secret: 8675309012345678", "attributes.client_secret at {}:6"),
        ("client_secrett: '8675309012345678'", "attributes.client_secrett at {}:6"),
        ("client_secret: '8675309012345678'\n  archives: data", "attributes.archives at {}:7"),
        ("client_secret: '{{ 8675309012345678 }}'", "client_secret\n  Input should be a valid string"),
    ],
)
def test_what_is_wrong_of_the_yaml_is_told_with_its_line_and_without_the_secret(wrong: str, told: str) -> None:
    with pytest.raises(Exception, match="UserTestingClipsComponent") as caught, of_yaml(f"{FIVE_LINES}  {wrong}"):
        pass
    said = "".join(traceback.format_exception(caught.value))
    assert re.search(re.escape(told).replace(r"\{\}", r"\S+/defs\.yaml"), said), said
    assert "8675309012345678" not in said


def test_two_accounts_beside_a_host_archive_each_its_own_and_nothing_crosses(tmp_path: Path) -> None:
    """Sensors find the sessions, their runs archive them, and the host's own asset is materialized beside them."""
    with ExitStack() as stack:
        instance = stack.enter_context(DagsterInstance.ephemeral(tempdir=str(tmp_path)))
        servers = {
            name: stack.enter_context(
                SimulatorServer(SimulatorConfig(sessions=2, clips_total=3, time_scale=200.0, seed=seed))
            )
            for seed, name in enumerate(("research", "sales"), start=1)
        }
        location = Definitions.merge(host(), *(of_server(name, server, tmp_path) for name, server in servers.items()))
        found = {name: archive_found(location, instance, name) for name in servers}
        instance.add_dynamic_partitions("sessions", ["theirs"])
        location.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[AssetKey("clip_list")], partition_key="theirs", run_config=QUIET
        )

        for name, server in servers.items():
            sessions = {session.session_id for session in server.world.sessions()}
            assert set(found[name]) == sessions
            assert set(instance.get_dynamic_partitions(f"{name}_sessions")) == sessions
            for asset_name in CLIPS:
                assert set(instance.get_materialized_partitions(AssetKey([name, asset_name]))) == sessions
            assert {path.parent.name for path in (tmp_path / name).glob("sessions/*/clip_list.json")} == sessions
            assert server.requests.count(Operation.LIST_SESSIONS) == 1
            assert server.requests.count(Operation.LIST_CLIPS) == len(sessions) == 2
            assert server.requests.count(status=404) == 0
            account, table = Account(name), MetadataTable(str(tmp_path / name))
            status = read_status(instance, table, LocalStore(tmp_path / name), account)
            assert (status.sessions, status.archived, status.clips) == (2, 2, {"STORED": 3})
            for sensor_name in ("unfinished_sessions", "late_clips", "health_alerts"):
                assert ticked(location, instance, account, sensor_name).skip_message
            make_media(location, instance, account)
            assert set(instance.get_materialized_partitions(account.key("clip_media"))) == sessions
        assert not set(found["research"]) & set(found["sales"])
        assert instance.get_materialized_partitions(AssetKey("clip_list")) == {"theirs"}
        assert {path.name for path in tmp_path.iterdir() if path.name in {"data", *servers}} == {*servers}


def of_server(account: str, server: SimulatorServer, root: Path) -> Definitions:
    return build_definitions(
        account=account,
        test_ids=[DEMO_TEST_ID],
        archive=str(root / account),
        client_id="demo",
        client_secret="demo",
        api_url=server.url,
        token_url=server.token_url,
        poll_interval_s=3.0 / 200.0,
        alert_urls=["json://127.0.0.1:1"],
    )


def archive_found(location: Definitions, instance: DagsterInstance, name: str) -> list[str]:
    """What the daemon does: a tick of the account's sensor, and the runs that it requests."""
    account = Account(name)
    result = ticked(location, instance, account, "new_sessions")
    (added,) = result.dynamic_partitions_requests or ()
    assert added.partitions_def_name == account.partitions
    instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    job = location.resolve_job_def(account.named("archive_clips"))
    for request in result.run_requests or ():
        assert request.tags["ut_clips/batch"] == f"{name}_at work"
        run = job.execute_in_process(
            instance=instance, partition_key=request.partition_key, tags=dict(request.tags), run_config=QUIET
        )
        assert run.success
    return list(added.partition_keys)


def ticked(location: Definitions, instance: DagsterInstance, account: Account, name: str) -> SensorExecutionData:
    """One tick, as the daemon asks the code server for it."""
    repository = location.get_repository_def()
    sensor = repository.get_sensor_def(account.named(name))
    resources = {key: (location.resources or {})[key] for key in sensor.required_resource_keys}
    with (
        partition_loading_context(dynamic_partitions_store=instance),
        build_sensor_context(instance, repository_def=repository, resources=resources) as context,
    ):
        return sensor.evaluate_tick(context)


def make_media(location: Definitions, instance: DagsterInstance, account: Account) -> None:
    """What follows on the clips: its sensor looks through all at its first tick."""
    (request,) = ticked(location, instance, account, "follow_clip_media").run_requests or ()
    job = location.resolve_job_def(account.named("make_clip_media"))
    assert job.execute_in_process(instance=instance, tags=dict(request.tags), run_config=QUIET).success


THEIRS = """\
from dagster import ConfigurableResource, Definitions, DynamicPartitionsDefinition, asset, multiprocess_executor


class Archive(ConfigurableResource):
    folder: str = "theirs"


@asset(partitions_def=DynamicPartitionsDefinition(name="sessions"))
def clip_list(archive: Archive) -> str:
    return archive.folder


defs = Definitions(assets=[clip_list], resources={"archive": Archive()}, executor=multiprocess_executor)
"""


def test_dg_finds_nothing_wrong_in_a_created_project_that_has_such_names_itself(tmp_path: Path) -> None:
    programs, project = Path(sys.executable).parent, tmp_path / "their_project"
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(folder: Path, program: str, *words: str) -> None:
        command = [str(programs / program), *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run(tmp_path, "create-dagster", "project", "--no-uv-sync", project.name)
    ours = project / "src" / project.name / "defs" / "research"
    ours.mkdir()
    (ours / "defs.yaml").write_text(FIVE_LINES)
    (ours.parent / "theirs.py").write_text(THEIRS)
    run(project, "dg", "check", "defs")
