"""What `deploy/kubernetes/` says, and what the chart makes of it for the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .names import NAMESPACE

DEPLOY = Path(__file__).parents[2] / "deploy"
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
INSTANCE: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "dagster.yaml").read_text())
(CODE_SERVER,) = VALUES["dagster-user-deployments"]["deployments"]
IMAGE = f"{CODE_SERVER['image']['repository']}:{CODE_SERVER['image']['tag']}"
USER_ENV = "dagster-dagster-user-deployments-ut-clips-dagster-user-env"
"""A ConfigMap that the chart makes, empty here."""


def container_context() -> dict[str, Any]:
    """What the chart tells the code server, as DAGSTER_CONTAINER_CONTEXT, to say of its runs."""
    return {
        "k8s": {
            "env_config_maps": [USER_ENV, *(source["name"] for source in CODE_SERVER["envConfigMaps"])],
            "env_secrets": [source["name"] for source in CODE_SERVER["envSecrets"]],
            "image_pull_policy": CODE_SERVER["image"]["pullPolicy"],
            "namespace": NAMESPACE,
            "resources": CODE_SERVER["resources"],
            "run_k8s_config": {"pod_spec_config": {"automount_service_account_token": True}},
            "service_account_name": VALUES["dagster-user-deployments"]["serviceAccount"]["name"],
            "volume_mounts": CODE_SERVER["volumeMounts"],
            "volumes": CODE_SERVER["volumes"],
        }
    }


def launcher(kubeconfig: Path, dagster_home: str) -> dict[str, Any]:
    """The run launcher as the chart configures it, but from outside a cluster."""
    config = {**INSTANCE["run_launcher"]["config"], "dagster_home": dagster_home}
    outside = {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    return {**INSTANCE["run_launcher"], "config": {**config, **outside}}
