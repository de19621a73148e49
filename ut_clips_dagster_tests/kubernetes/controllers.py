"""What a cluster does of itself: a pod for each Job, on a node that is there; what is on a node that is lost, failed.

Real times are a tenth here: a node counts as lost 5 s after its last sign of life, instead of 50, and a pod's
`tolerationSeconds` for that are a tenth as long.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from datetime import datetime, timezone
from typing import Any

from kmock import KubernetesEmulator

LOOKS_EVERY_S = 0.2
SPEED = 10.0
NODE_GRACE_S = 50.0 / SPEED
TOLERATION_S = 300.0
"""Of a pod that says nothing about it, as Kubernetes sets it."""
UNREACHABLE = "node.kubernetes.io/unreachable"


class Controllers:
    """Scheduler, Job controller and the controller that evicts from lost nodes, in one look over all objects."""

    def __init__(self, handler: KubernetesEmulator) -> None:
        self._objects = handler.objects

    def look(self) -> None:
        """Bring each Job on by one step."""
        seen = {node.raw["metadata"]["name"]: node.raw["status"]["seen"] for _, node in self._living("nodes")}
        pods = {key[2]: pod for key, pod in self._living("pods")}
        load = Counter(pod.raw["spec"]["nodeName"] for pod in pods.values() if not _ended(pod.raw))
        for (_, namespace, name), job in self._living("jobs"):
            status = job.raw.get("status") or {}
            if "completionTime" in status or status.get("failed"):
                continue
            if not status.get("active"):
                here = [node for node, at in seen.items() if time.time() - at < NODE_GRACE_S]
                if here:
                    node = min(here, key=lambda one: load[one])
                    load[node] += 1
                    self._objects["v1/pods", namespace, f"{name}-0"] = _pod(job.raw, node)
                    job.patch({"status": {"active": 1, "startTime": _now()}})
                continue
            pod = pods.get(f"{name}-0")
            if pod is None:  # somebody deleted it: it counts as failed at once
                job.patch({"status": {"active": 0, "failed": 1}})
            elif pod.raw["status"]["phase"] == "Succeeded":
                job.patch({"status": {"active": 0, "succeeded": 1, "completionTime": _now()}})
            elif pod.raw["status"]["phase"] == "Failed":
                job.patch({"status": {"active": 0, "failed": 1}})
            elif time.time() - seen.get(pod.raw["spec"]["nodeName"], 0) > NODE_GRACE_S + _tolerated_s(pod.raw):
                pod.delete()

    def _living(self, plural: str) -> list[tuple[Any, Any]]:
        return [(key, found) for key, found in self._objects.items() if key[0].plural == plural and not found.deleted]


def _pod(job: dict[str, Any], node: str) -> dict[str, Any]:
    template, metadata = copy.deepcopy(job["spec"]["template"]), job["metadata"]
    labels = {**template["metadata"].get("labels", {}), "job-name": metadata["name"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{metadata['name']}-0", "namespace": metadata.get("namespace"), "labels": labels},
        "spec": {**template["spec"], "nodeName": node},
        "status": {"phase": "Pending"},
    }


def _tolerated_s(pod: dict[str, Any]) -> float:
    by_key = {t.get("key"): t.get("tolerationSeconds", TOLERATION_S) for t in pod["spec"].get("tolerations") or []}
    return float(by_key.get(UNREACHABLE, TOLERATION_S)) / SPEED


def _ended(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
