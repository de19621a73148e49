"""Every Job that the launcher makes of our runs is one that Kubernetes takes, and may do no more than it has to."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance, DagsterRun
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG, PARENT_RUN_ID_TAG

pytest.importorskip("kmock", reason="KUBERNETES IS NOT TESTED: kmock needs Python 3.11")

import kubernetes_validate

from .api import JOBS, Api
from .chart import CODE_SERVER, IMAGE, INSTANCE, VALUES, container_context, launcher

VERSIONS = ("1.31", "1.34", "1.37")
PASSWORD = "a-password-of-the-database"
FIRST, LAST = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000009"
RANGE = {ASSET_PARTITION_RANGE_START_TAG: FIRST, ASSET_PARTITION_RANGE_END_TAG: LAST, "ut_clips/batch": "at work"}
RUNS: dict[str, tuple[str, dict[str, str]]] = {
    "one session": ("archive_clips", {"dagster/partition": FIRST}),
    "a batch": ("archive_clips", {**RANGE, "dagster/priority": "-5"}),
    "of a backfill": ("__ASSET_JOB", {**RANGE, "dagster/backfill": "abcdefgh"}),
    "a retry": ("archive_clips", {**RANGE, PARENT_RUN_ID_TAG: FIRST, "dagster/retry_number": "1"}),
    "late clips": ("relist_clips", {}),
    "what follows": ("make_clip_media", {**RANGE, "ut_clips/follow_on": "clip_media"}),
}
LIMIT_OF_AN_ARGUMENT = 128 * 1024


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, DagsterInstance]]:
    """An instance with the launcher of `deploy/kubernetes`, that asks an API of ours."""
    folder = tmp_path_factory.mktemp("kubernetes")
    with Api() as api, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_PG_PASSWORD", PASSWORD)
        api.write_kubeconfig(folder / "kubeconfig")
        home = folder / "home"
        home.mkdir()
        runs = {"run_launcher": launcher(folder / "kubeconfig", VALUES["global"]["dagsterHome"])}
        (home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, **runs}))
        with DagsterInstance.from_config(str(home)) as made:
            yield api, made


def launch(api: Api, instance: DagsterInstance, job_name: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """The Job that a run becomes."""
    origin = RepositoryPythonOrigin(
        executable_path="/opt/ut_clips_dagster/bin/python",
        code_pointer=ModuleCodePointer("ut_clips_dagster.definitions", "defs", working_directory="/home/ut-clips"),
        container_image=IMAGE,
        entry_point=["dagster"],
        container_context=container_context(),
    )
    run = DagsterRun(job_name=job_name, tags=tags, job_code_origin=JobPythonOrigin(job_name, origin))
    instance.add_run(run)
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    (job,) = (j for j in api.objects(JOBS) if j["metadata"]["labels"]["dagster/run-id"] == run.run_id)
    return dict(job)


@pytest.mark.parametrize("name", RUNS)
def test_kubernetes_takes_the_job(instance: tuple[Api, DagsterInstance], name: str) -> None:
    job = launch(*instance, *RUNS[name])
    job.pop("status", None)  # the cluster's word, not the launcher's
    for version in VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    assert max(map(len, job["spec"]["template"]["spec"]["containers"][0]["args"])) < LIMIT_OF_AN_ARGUMENT


def test_a_job_that_kubernetes_would_not_take_is_found(instance: tuple[Api, DagsterInstance]) -> None:
    job = launch(*instance, *RUNS["one session"])
    job.pop("status", None)
    job["spec"]["template"]["spec"]["containers"][0]["securityContexts"] = {}
    for version in VERSIONS:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(copy.deepcopy(job), version, strict=True)


def test_a_pod_has_what_the_run_needs_and_shows_no_secret(instance: tuple[Api, DagsterInstance]) -> None:
    job = launch(*instance, *RUNS["a batch"])
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    env = {variable["name"]: variable for variable in container["env"]}

    assert container["image"] == IMAGE
    assert env["DAGSTER_HOME"]["value"] == VALUES["global"]["dagsterHome"]
    assert env["DAGSTER_PG_PASSWORD"]["valueFrom"]["secretKeyRef"] == {
        "name": VALUES["global"]["postgresqlSecretName"],
        "key": "postgresql-password",
    }
    given = [name["name"] for source in container["envFrom"] for name in source.values()]
    assert {"ut-clips-settings", "ut-clips-credentials"} <= set(given)
    assert PASSWORD not in str(job)
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/opt/dagster/instance"]
    assert [volume["name"] for volume in pod["volumes"]] == ["instance"]


def test_a_pod_may_do_no_more_than_it_has_to_and_is_given_up_once(instance: tuple[Api, DagsterInstance]) -> None:
    job = launch(*instance, *RUNS["a batch"])
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["serviceAccountName"] == VALUES["dagster-user-deployments"]["serviceAccount"]["name"]
    assert pod["serviceAccountName"] != VALUES["serviceAccount"]["name"], "that one may make Jobs"
    assert pod["securityContext"] == CODE_SERVER["podSecurityContext"]
    assert container["securityContext"] == CODE_SERVER["securityContext"]
    assert (
        container["resources"] == INSTANCE["run_launcher"]["config"]["run_k8s_config"]["container_config"]["resources"]
    )
    assert pod["restartPolicy"] == "Never"
    assert job["spec"]["backoffLimit"] == 0, "Dagster's daemon retries, which has the other node's word"
    assert pod["terminationGracePeriodSeconds"] == 60
    assert {t["key"]: t["tolerationSeconds"] for t in pod["tolerations"]} == {
        "node.kubernetes.io/unreachable": 60,
        "node.kubernetes.io/not-ready": 60,
    }
