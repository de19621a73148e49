"""The server starts on a free port, stops cleanly, and takes many clients at once."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ut_clips_dagster.simulator import SimulatorConfig, SimulatorServer, serve


def test_two_simulators_run_side_by_side_and_are_gone_afterwards() -> None:
    with SimulatorServer() as one, SimulatorServer() as other:
        assert one.url != other.url
        assert httpx.get(f"{one.url}/openapi.json").status_code == 200
        url = one.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_stopped_simulator_starts_again_on_its_port_with_its_world(bench: Callable[..., Any]) -> None:
    lab = bench()
    port = int(lab.server.url.rpartition(":")[2])
    lab.server.stop()
    with SimulatorServer(SimulatorConfig(port=port)) as again:
        assert httpx.get(f"{again.url}/openapi.json").status_code == 200


def test_a_taken_port_is_an_os_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(port=taken.getsockname()[1])


def test_a_fault_that_there_is_not_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a fault"):
        serve(port=0, faults=["nothing"])


def test_many_clients_at_once_are_all_answered(bench: Callable[..., Any]) -> None:
    lab = bench(sessions=10, clips_total=20)
    clips = [clip for session in lab.server.world.sessions() for clip in lab.server.world.clips(session.session_id)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lab.get_clip, clips * 10))
        assert {answer.status_code for answer in answers} == {200}
        lab.time.advance(600)
        links = [answer.json()["clipUrl"] for answer in pool.map(lab.get_clip, clips)]
        files = list(pool.map(lab.http.get, links))
    assert {file.status_code for file in files} == {200}
    assert len({file.content for file in files}) == 20


def test_answers_come_fast(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.list_sessions()
    began = time.monotonic()
    for _ in range(50):
        lab.list_sessions()
    assert (time.monotonic() - began) / 50 < 0.02


def test_serve_answers_until_it_is_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from ut_clips_dagster.simulator import serve; serve(port={port}, sessions=2, faults=['html:count=1'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(200):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/_simulator/state")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        assert len(answer.json()["sessions"]) == 2
        process.send_signal(2)
        output, _ = process.communicate(timeout=10)
        assert (process.returncode, output) == (0, b"")
    finally:
        process.kill()
