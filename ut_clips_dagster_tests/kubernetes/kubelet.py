"""A node's agent: starts its pods as processes, with nothing in their environment but what the pod says.

    python -m ut_clips_dagster_tests.kubernetes.kubelet NODE URL IMAGE LOGS

It asks the API twice a second. While that cannot be reached, what runs goes on, as on a real node; afterwards it ends
what was deleted meanwhile: SIGTERM, and SIGKILL when the pod's grace is over.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .names import NAMESPACE

LOOKS_EVERY_S = 0.5
TIMEOUT_S = 2.0
GRACE_S = 30.0
PATH = os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"))


class NotThereError(Exception):
    """A ConfigMap, Secret, key or image that a pod needs."""


@dataclass
class Container:
    """A pod's process."""

    process: subprocess.Popen[bytes]
    grace_s: float
    kill_at: float | None = None

    def stop(self) -> None:
        """Ask it to end, and insist later."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.grace_s
            self._signal(signal.SIGTERM)
        elif time.monotonic() > self.kill_at:
            self._signal(signal.SIGKILL)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Kubelet:
    """One node.

    Args:
        name: of the node.
        url: of the API.
        image: the only one that can be pulled.
        logs: where the output of each pod goes.
    """

    def __init__(self, name: str, url: str, image: str, logs: Path) -> None:
        self._name, self._image, self._logs = name, image, logs
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, verify=False)
        self._containers: dict[str, Container] = {}
        self._registered = False

    def stop(self) -> None:
        """End all that runs, as when the node is switched off."""
        for container in self._containers.values():
            container.kill()
        self._http.close()

    def look(self) -> None:
        """Tell that the node is there, and bring what runs in line with the API."""
        self._sign_of_life()
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        answer = self._http.get(path, params={"fieldSelector": f"spec.nodeName={self._name}"}).raise_for_status()
        wanted = {pod["metadata"]["name"]: pod for pod in answer.json()["items"]}
        for name, pod in wanted.items():
            if name not in self._containers and pod["status"]["phase"] == "Pending":
                self._start(name, pod)
        for name, container in list(self._containers.items()):
            code = container.process.poll()
            if code is not None:
                if name in wanted:
                    self._report(name, {"phase": "Failed" if code else "Succeeded", "exitCode": code})
                del self._containers[name]
            elif name not in wanted:
                container.stop()

    def _start(self, name: str, pod: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"]
        try:
            environment = self._environment(container)
        except NotThereError as missing:
            self._report(name, {"reason": f"CreateContainerConfigError: {missing}"})
            return
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*container.get("command", []), *container.get("args", [])],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        grace_s = pod["spec"].get("terminationGracePeriodSeconds", GRACE_S)
        self._containers[name] = Container(process, grace_s)
        self._report(name, {"phase": "Running"})

    def _environment(self, container: dict[str, Any]) -> dict[str, str]:
        if container["image"] != self._image:
            raise NotThereError(container["image"])
        found = {"PATH": PATH, "HOME": "/tmp"}
        for source in container.get("envFrom", []):
            kind = "secrets" if "secretRef" in source else "configmaps"
            (reference,) = source.values()
            found |= self._values(kind, reference["name"], optional=reference.get("optional", False))
        for variable in container.get("env", []):
            found[variable["name"]] = self._value(variable)
        return found

    def _value(self, variable: dict[str, Any]) -> str:
        source = variable.get("valueFrom")
        if source is None:
            return str(variable.get("value", ""))
        ((kind, reference),) = source.items()
        values = self._values("secrets" if kind == "secretKeyRef" else "configmaps", reference["name"], optional=False)
        if reference["key"] not in values:
            raise NotThereError(f"{reference['key']} in {reference['name']}")
        return values[reference["key"]]

    def _values(self, kind: str, name: str, *, optional: bool) -> dict[str, str]:
        answer = self._http.get(f"/api/v1/namespaces/{NAMESPACE}/{kind}/{name}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            if optional:
                return {}
            raise NotThereError(f"{kind} {name}")
        data = answer.raise_for_status().json()["data"]
        return {k: base64.b64decode(v).decode() if kind == "secrets" else v for k, v in data.items()}

    def _report(self, pod: str, status: dict[str, Any]) -> None:
        self._http.patch(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/status", json={"status": status})

    def _sign_of_life(self) -> None:
        node = {"metadata": {"name": self._name}, "status": {"seen": time.time()}}
        if not self._registered:
            self._http.post("/api/v1/nodes", json=node)  # 409: it was there before it was switched off
            self._registered = True
        self._http.patch(f"/api/v1/nodes/{self._name}/status", json={"status": node["status"]}).raise_for_status()


def main(name: str, url: str, image: str, logs: str) -> None:
    """Run it until it is killed."""
    kubelet = Kubelet(name, url, image, Path(logs))
    while True:
        with suppress(httpx.TransportError):
            kubelet.look()
        time.sleep(LOOKS_EVERY_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
