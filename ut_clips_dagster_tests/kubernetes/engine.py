"""Kubernetes as what starts the runs on the hosts: the chart's run launcher, and a kubelet on each host."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import Api
from .chart import CODE_SERVER, IMAGE, USER_ENV, VALUES, container_context, launcher

if TYPE_CHECKING:
    from ut_clips_dagster_tests.hosts.lan import Host

PORT = 6443
PASSWORD = "DAGSTER_PG_PASSWORD"
IN_SECRETS = ("USERTESTING_CLIENT_ID", "USERTESTING_CLIENT_SECRET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
IN_SETTINGS = ("USERTESTING_", "UT_CLIPS_", "AWS_", "DAGSTER_PG_", "DAGSTER_LOGS_")


class Kubernetes:
    """An API beside the daemon; pods are processes on the other hosts, and know only what their Jobs say."""

    python = Path(sys.executable)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kubeconfig = folder / "kubeconfig"
        self.api: Api | None = None

    def launcher(self, workers: Mapping[str, Host]) -> dict[str, Any]:
        disks = {str(host._lan.disk) for host in workers.values()}
        return launcher(self._kubeconfig, f"{disks.pop()}/dagster")

    def environment(self, control: Host) -> dict[str, str]:  # noqa: ARG002 - as every engine
        context = json.dumps(container_context())
        return {"DAGSTER_CURRENT_IMAGE": IMAGE, "DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT": context}

    def start_head(self, control: Host, env: Mapping[str, str], logs: Path) -> None:  # noqa: ARG002
        self.api = Api(control.address, PORT)
        self.api.__enter__()  # it ends with this process
        self.api.write_kubeconfig(self._kubeconfig)
        secret = {name: value for name, value in env.items() if name in IN_SECRETS}
        settings = {n: v for n, v in env.items() if n.startswith(IN_SETTINGS) and n not in (*IN_SECRETS, PASSWORD)}
        self.api.give("secrets", VALUES["global"]["postgresqlSecretName"], {"postgresql-password": env[PASSWORD]})
        self.api.give("secrets", CODE_SERVER["envSecrets"][0]["name"], secret)
        self.api.give("configmaps", CODE_SERVER["envConfigMaps"][0]["name"], settings)
        self.api.give("configmaps", USER_ENV, {})

    def start_worker(self, host: Host, control: Host, env: Mapping[str, str], logs: Path) -> None:
        module, url = "ut_clips_dagster_tests.kubernetes.kubelet", f"http://{control.address}:{PORT}"
        own = {name: env[name] for name in ("PATH", "HOME")}
        with (logs / f"kubelet-{host.name}.log").open("ab") as log:
            host.popen(str(self.python), "-m", module, host.name, url, IMAGE, str(logs), env=own, log=log)
