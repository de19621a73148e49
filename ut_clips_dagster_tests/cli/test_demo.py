"""What `demo` gives the Dagster that it starts; the whole of it runs in e2e/test_demo.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from ut_clips_dagster.cli import demo
from ut_clips_dagster.results_api.proxies import proxy_for
from ut_clips_dagster.simulator import SimulatorServer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_dagster_asks_no_proxy_for_what_is_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, case: Callable[[str], str]
) -> None:
    monkeypatch.setenv(case("http_proxy"), "http://proxy.example:3128")
    monkeypatch.setenv(case("no_proxy"), "intranet.example")
    (tmp_path / "dagster").mkdir()

    with (
        mock.patch.object(demo.subprocess, "Popen") as popen,
        mock.patch.object(demo, "_end"),
        SimulatorServer() as simulator,
        demo._dagster(simulator, tmp_path, 3000),
    ):
        environment = popen.call_args.kwargs["env"]

    with mock.patch.dict(os.environ, environment, clear=True):
        assert proxy_for("http", "media.example") == "http://proxy.example:3128"
        assert proxy_for("http", host) is None
