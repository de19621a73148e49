"""The stand-in for a cluster does what a run launcher relies on: else what is proven on it means nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kmock", reason="KUBERNETES IS NOT TESTED: kmock needs Python 3.11")

import httpx

from .api import JOBS, PODS, Api
from .controllers import UNREACHABLE
from .kubelet import Kubelet
from .names import NAMESPACE

IMAGE = "image:1"
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as api:
        yield api


@pytest.fixture
def node(api: Api, tmp_path: Path) -> Iterator[Kubelet]:
    """A node that lives as long as somebody looks."""
    kubelet = Kubelet("a", api.url, IMAGE, tmp_path)
    yield kubelet
    kubelet.stop()


def wait_until(true: Callable[[], object], node: Kubelet | None = None) -> None:
    end = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < end
        if node:
            node.look()
        time.sleep(0.1)


def post(api: Api, name: str, script: str, tolerated_s: int = 300, **container: Any) -> None:
    containers = [{"name": "c", "image": IMAGE, "command": ["sh", "-c", script], **container}]
    spec = {"containers": containers, "tolerations": [{"key": UNREACHABLE, "tolerationSeconds": tolerated_s}]}
    job = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"template": {"metadata": {}, "spec": spec}}}
    httpx.post(f"{api.url}/apis/batch/v1/namespaces/{NAMESPACE}/jobs", json=job, trust_env=False).raise_for_status()


def job(api: Api, name: str) -> dict[str, Any]:
    (found,) = (one for one in api.objects(JOBS) if one["metadata"]["name"] == name)
    return dict(found.get("status") or {})


def pod(api: Api, name: str) -> dict[str, Any]:
    found = [one["status"] for one in api.objects(PODS) if one["metadata"]["name"] == f"{name}-0"]
    return dict(found[0]) if found else {}


def test_jobs_run_with_what_their_pods_are_given_and_nothing_else(api: Api, node: Kubelet, tmp_path: Path) -> None:
    api.give("secrets", "password", {"key": "secret word"})
    api.give("configmaps", "settings", {"COLOUR": "green"})
    secret = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "password", "key": "key"}}}
    post(api, "good", "env", env=[secret], envFrom=[{"configMapRef": {"name": "settings"}}])
    post(api, "bad", "exit 3")
    post(api, "waiting", "true", envFrom=[{"secretRef": {"name": "later"}}])
    post(api, "elsewhere", "true", image="image:2")

    wait_until(lambda: job(api, "good").get("succeeded") and job(api, "bad").get("failed"), node)
    said = dict(line.split("=", 1) for line in (tmp_path / "good-0.log").read_text().splitlines())
    assert {"WORD": "secret word", "COLOUR": "green"}.items() <= said.items()
    assert said.keys() <= {"WORD", "COLOUR", "PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"}
    wait_until(lambda: "secrets later" in pod(api, "waiting").get("reason", ""), node)
    wait_until(lambda: "image:2" in pod(api, "elsewhere").get("reason", ""), node)
    api.give("secrets", "later", {})
    wait_until(lambda: job(api, "waiting").get("succeeded"), node)


def test_a_pod_that_is_deleted_is_told_to_end(api: Api, node: Kubelet, tmp_path: Path) -> None:
    post(api, "deleted", "trap 'echo told; exit' TERM; echo began; while :; do sleep 0.1; done")
    log = tmp_path / "deleted-0.log"
    wait_until(lambda: log.is_file() and "began" in log.read_text(), node)
    api.remove(PODS, "deleted-0")
    wait_until(lambda: "told" in log.read_text(), node)
    wait_until(lambda: job(api, "deleted").get("failed"), node)


def test_what_is_on_a_node_that_is_lost_counts_as_failed_and_is_ended_when_the_node_is_back(
    api: Api, node: Kubelet, tmp_path: Path
) -> None:
    post(api, "lost", "trap 'echo told; exit' TERM; echo began; while :; do sleep 0.1; done", tolerated_s=10)
    log = tmp_path / "lost-0.log"
    wait_until(lambda: log.is_file() and "began" in log.read_text(), node)
    wait_until(lambda: job(api, "lost").get("failed"))  # its link is cut: what it started goes on, nobody hears of it
    assert "told" not in log.read_text()
    wait_until(lambda: "told" in log.read_text(), node)
