"""Faults that a client sees on its socket: cut, reset, endless, slow and silent answers."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ut_clips_dagster.simulator import media_file


@pytest.fixture
def media(bench: Callable[..., Any]) -> tuple[Any, str, bytes]:
    lab = bench()
    _, clip = lab.session_with_clip(media_size_bytes=100_000)
    return lab, lab.link(clip), media_file(lab.server.world.render(clip)).read()


def read(lab: Any, link: str) -> tuple[bytes, httpx.Headers, httpx.HTTPError | None]:
    """What arrives before the error, headers, and the error."""
    got = b""
    with lab.plain.stream("GET", link, timeout=2) as answer:
        try:
            for chunk in answer.iter_raw():
                got += chunk
        except httpx.HTTPError as error:
            return got, answer.headers, error
    return got, answer.headers, None


def test_short_body_ends_before_its_content_length(media: tuple[Any, str, bytes]) -> None:
    lab, link, whole = media
    lab.server.faults.add("short_body")
    got, headers, error = read(lab, link)
    assert isinstance(error, httpx.RemoteProtocolError)
    assert headers["content-length"] == "100000"
    assert got == whole[:50_000]


def test_chunked_cut_ends_without_the_last_chunk(media: tuple[Any, str, bytes]) -> None:
    lab, link, whole = media
    lab.server.faults.add("chunked_cut")
    got, headers, error = read(lab, link)
    assert isinstance(error, httpx.RemoteProtocolError)
    assert headers["transfer-encoding"] == "chunked"
    assert got == whole[:50_000]


def test_chunked_body_is_complete_without_content_length(media: tuple[Any, str, bytes]) -> None:
    lab, link, whole = media
    lab.server.faults.add("chunked_body")
    got, headers, error = read(lab, link)
    assert (got, error) == (whole, None)
    assert headers["transfer-encoding"] == "chunked"
    assert "content-length" not in headers


def test_reset_is_a_reset_of_the_connection_in_the_middle(media: tuple[Any, str, bytes]) -> None:
    lab, link, whole = media
    lab.server.faults.add("reset")
    got, _, error = read(lab, link)
    assert isinstance(error, httpx.ReadError)
    assert "reset" in str(error.__cause__).lower()
    assert whole.startswith(got)
    assert len(got) < len(whole)


def test_reset_hits_json_too_and_the_next_request_works(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.server.faults.add("reset:count=1")
    with pytest.raises(httpx.ReadError):
        lab.list_sessions()
    assert lab.list_sessions().status_code == 200


def test_endless_body_goes_on_until_the_client_leaves_and_others_are_served(media: tuple[Any, str, bytes]) -> None:
    lab, link, whole = media
    lab.server.faults.add("endless_body")
    got = 0
    with lab.plain.stream("GET", link, timeout=2) as answer:
        assert "content-length" not in answer.headers
        for chunk in answer.iter_raw():
            got += len(chunk)
            if got > 20 * len(whole):
                assert lab.list_sessions().status_code == 200
                break
    assert lab.list_sessions().status_code == 200


def test_slow_body_arrives_in_pieces(media: tuple[Any, str, bytes]) -> None:
    lab, link, whole = media
    lab.server.faults.add("slow_body:delay_s=0.03")
    began = time.monotonic()
    got, _, error = read(lab, link)
    assert (got, error) == (whole, None)
    assert time.monotonic() - began > 0.4


def test_stall_answers_nothing_and_others_are_served(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.server.faults.add("stall:count=1")
    with pytest.raises(httpx.ReadTimeout):
        lab.http.get("/api/v2/sessionResults", timeout=0.2)
    assert lab.list_sessions().status_code == 200
    stalled = lab.server.requests.entries()[1]
    assert (stalled.operation, stalled.status) == ("list_sessions", None)


@pytest.mark.parametrize("fault", ["stall", "endless_body", "slow_body:delay_s=60"])
def test_stopping_does_not_wait_for_clients(media: tuple[Any, str, bytes], fault: str) -> None:
    lab, link, _ = media
    lab.server.faults.add(fault)
    arrived = threading.Event()

    def hang() -> None:
        try:
            with lab.plain.stream("GET", link, timeout=10) as answer:
                for _ in answer.iter_raw():
                    arrived.set()
        except httpx.HTTPError:
            arrived.set()

    client = threading.Thread(target=hang)
    client.start()
    if fault != "stall":
        assert arrived.wait(5)
    else:
        while not lab.server.requests.count("media"):
            time.sleep(0.01)
    began = time.monotonic()
    lab.server.stop()
    assert time.monotonic() - began < 1.5
    client.join(5)
    assert not client.is_alive()


def test_connection_faults_hit_big_files_too(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip(media_size_bytes=40_000_000)
    lab.server.faults.add("short_body")
    got, headers, error = read(lab, lab.link(clip))
    assert isinstance(error, httpx.RemoteProtocolError)
    assert (len(got), headers["content-length"]) == (20_000_000, "40000000")
