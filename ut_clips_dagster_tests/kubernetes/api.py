"""A Kubernetes API on an address of ours (kmock's), with the selectors and controllers that run launchers rely on."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from kmock import KubernetesEmulator, Request, Server, action
from typing_extensions import Self

from .controllers import LOOKS_EVERY_S, Controllers
from .names import NAMESPACE

JOBS, PODS, NODES = "batch/v1/jobs", "v1/pods", "v1/nodes"


class Emulator(KubernetesEmulator):
    """kmock's, without its memory of all requests, in which it looks for each: it would be slower with every one."""

    async def _handle(self, request: Request) -> Any:
        try:
            return await super()._handle(request)
        finally:
            self._requests[:] = [other for other in self._requests if other is not request]


class Api:
    """A server in a thread of its own, for as long as the `with` block lasts."""

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        self._where = (host, port)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="kubernetes", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(60):
            raise RuntimeError("the Kubernetes API does not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def write_kubeconfig(self, path: Path) -> None:
        """Write how to reach it, as `kubectl` reads it."""
        cluster = {"name": "lab", "cluster": {"server": self.url}}
        context = {"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": NAMESPACE}}
        users = [{"name": "lab", "user": {}}]
        config = {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "lab"}
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))

    def give(self, kind: str, name: str, values: Mapping[str, str]) -> None:
        """Have a ConfigMap (`configmaps`) or a Secret (`secrets`) with these values."""
        data = {k: base64.b64encode(v.encode()).decode() if kind == "secrets" else v for k, v in values.items()}
        self._put(f"v1/{kind}", name, {"metadata": {"name": name, "namespace": NAMESPACE}, "data": data})

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """What there is of a kind, such as `JOBS`."""
        return self._do(lambda: [found.raw for found in _living(self._handler, kind)])

    def remove(self, kind: str, name: str) -> None:
        """Delete one."""
        self._do(self._handler.objects[kind, NAMESPACE, name].delete)

    def _put(self, kind: str, name: str, value: dict[str, Any]) -> None:
        def put() -> None:
            self._handler.objects[kind, NAMESPACE, name] = value

        self._do(put)

    def _do(self, what: Any) -> Any:
        async def there() -> Any:
            return what()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(30)

    async def _serve(self) -> None:
        self._loop, (host, port) = asyncio.get_running_loop(), self._where
        async with Emulator() as self._handler, Server(self._handler, host=host, port=port) as server:
            self._handler[action.LIST] << self._list
            self.url = str(server.url).rstrip("/")
            self._ready.set()
            controllers = Controllers(self._handler)
            while not self._stop.is_set():
                controllers.look()
                await asyncio.sleep(LOOKS_EVERY_S)

    async def _list(self, request: Request) -> dict[str, Any]:
        """What was asked for, by the selectors that kmock does not know."""
        assert request.resource is not None
        wanted = [
            found.raw
            for (resource, namespace, _), found in self._handler.objects.items()
            if resource == request.resource
            and not found.deleted
            and request.namespace in (None, namespace)
            and _selected(found.raw, request.params)
        ]
        return {"metadata": {"resourceVersion": "1"}, "items": wanted}


def _living(handler: KubernetesEmulator, kind: str) -> list[Any]:
    group, _, plural = kind.rpartition("/")
    return [
        found
        for (resource, _, _), found in handler.objects.items()
        if resource.plural == plural
        and "/".join(filter(None, (resource.group, resource.version))) == group
        and not found.deleted
    ]


def _selected(found: Mapping[str, Any], params: Mapping[str, str]) -> bool:
    labels = found["metadata"].get("labels", {})
    by_label = [term.split("=", 1) for term in params.get("labelSelector", "").split(",") if term]
    by_field = [term.split("=", 1) for term in params.get("fieldSelector", "").split(",") if term]
    return all(labels.get(name) == value for name, value in by_label) and all(
        _at(found, path) == value for path, value in by_field
    )


def _at(found: Mapping[str, Any], path: str) -> Any:
    value: Any = found
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
