"""Tokens: fetched once, renewed before they expire, refused with advice, sent to the API's host only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

import httpx
import pytest

from ut_clips_dagster.errors import ApiUnavailableError, AuthenticationError
from ut_clips_dagster.results_api.auth import TokenSource
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster_tests.faults.virtual_time import VirtualTime

Start = Callable[..., Any]


def source(handler: Callable[[httpx.Request], httpx.Response], time: VirtualTime | None = None) -> TokenSource:
    tokens = TokenSource("https://auth.example/token", "id", "s3cret", httpx.Timeout(1), (time or VirtualTime()).clock)
    tokens._http.close()
    tokens._http = httpx.Client(transport=httpx.MockTransport(handler))
    return tokens


def test_the_form_is_what_the_authorization_page_says() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"access_token": "abc", "expires_in": 3600, "token_type": "Bearer"})

    assert source(answer).token() == "abc"
    assert seen[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(seen[0].content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["id"],
        "client_secret": ["s3cret"],
        "scope": ["studies:read"],
    }


@pytest.mark.parametrize(("after_s", "tokens"), [(3500, 1), (3541, 2), (3700, 2)])
def test_a_token_is_renewed_a_minute_before_it_expires(lab: Start, after_s: float, tokens: int) -> None:
    bench = lab()
    api = bench.api()
    api.list_sessions(bench.test_id)
    bench.time.sleep(after_s)
    api.list_sessions(bench.test_id)
    assert bench.server.requests.count("token") == tokens
    assert bench.server.requests.count("list_sessions", 401) == 0


def test_a_token_that_lives_for_seconds_is_used_for_half_of_them(lab: Start) -> None:
    bench = lab(token_ttl_s=40, rate_limit=100)
    api = bench.api()
    for _ in range(10):
        api.list_sessions(bench.test_id)
        bench.time.sleep(10)
    assert bench.server.requests.count("list_sessions", 401) == 0
    assert 4 <= bench.server.requests.count("token") <= 5


def test_a_wrong_secret_is_asked_once_and_explained(lab: Start) -> None:
    bench = lab()
    with pytest.raises(AuthenticationError, match=r"\(status 401\). Check USERTESTING_CLIENT_ID") as caught:
        bench.api(client_secret="wrong-one").list_sessions(bench.test_id)
    assert bench.server.requests.count("token") == 1
    assert bench.server.requests.api_count() == 0
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize("fault", ["server_error", "rate_limited", "reset", "stall"])
def test_a_failing_endpoint_is_retried_four_times_in_all(lab: Start, fault: str) -> None:
    """Its retries do not multiply with those of the request that needs the token."""
    bench = lab()
    bench.server.faults.add(f"{fault}:operation=token")
    with pytest.raises(ApiUnavailableError, match="The token endpoint"):
        bench.api().list_sessions(bench.test_id)
    assert bench.server.requests.count("token") == 5
    assert len(bench.waits) == 4
    assert bench.server.requests.api_count() == 0


def test_an_endpoint_that_fails_for_a_while_does_no_harm(lab: Start) -> None:
    bench = lab()
    bench.server.faults.add("server_error:operation=token,count=4")
    assert bench.api().list_sessions(bench.test_id).sessions
    assert bench.server.requests.count("token") == 5
    assert bench.server.requests.api_count() == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/token", "http://nobody.invalid/token"])
def test_an_endpoint_that_cannot_be_reached_is_named(lab: Start, url: str) -> None:
    bench = lab()
    with pytest.raises(ApiUnavailableError, match=f"{url} cannot be reached .ConnectError"):
        bench.api(token_url=url).list_sessions(bench.test_id)
    assert len(bench.waits) == 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'"token"',
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": null}',
        b'{"access_token": "a", "expires_in": "soon"}',
        b'{"access_token": "a\\nX-Injected: b", "expires_in": 60}',
        '{"access_token": "ü", "expires_in": 60}'.encode(),
        b'{"access_token": {"a": 1}, "expires_in": 60}',
        b'{"error": "invalid_client"}',
    ],
)
def test_an_answer_without_a_token_is_refused(body: bytes) -> None:
    tokens = source(lambda _: httpx.Response(200, content=body))
    with pytest.raises(AuthenticationError, match="its answer is no token"):
        tokens.token()


@pytest.mark.parametrize(
    "lives",
    [
        {},
        *({"expires_in": told} for told in (None, 3600.5, "3600", -1, 0, 10**30, 10**320, "1e400", "NaN")),
    ],
)
def test_a_lifetime_is_read_in_any_form(lives: dict[str, Any]) -> None:
    time, asked = VirtualTime(), []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": "a", **lives})

    tokens = source(answer, time)
    tokens.token()
    time.sleep(3500)
    tokens.token()
    assert len(asked) == 1
    time.sleep(60)
    tokens.token()
    assert len(asked) == 2


def test_threads_that_were_refused_one_token_renew_it_once() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": f"token-{len(asked)}"})

    tokens = source(answer)
    first = tokens.token()
    barrier = threading.Barrier(8)

    def refused(_: int) -> str:
        barrier.wait()
        return tokens.token(refused=first)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(refused, range(8))) == {"token-2"}


def test_the_token_goes_to_the_api_and_nowhere_else(lab: Start) -> None:
    """Neither the media host nor the place it redirects to ever sees it."""
    bench = lab()
    seen: list[tuple[str, str | None]] = []
    app = bench.server._server.config.loaded_app

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], dict(scope["headers"]).get(b"authorization", b"").decode() or None))
        await app(scope, receive, send)

    api = bench.api()
    bench.server.faults.add("redirect")
    with mock.patch.object(bench.server._server.config, "loaded_app", watching):
        link = bench.link(api)
        with MediaClient(allow_loopback=True, max_bytes=10**6).stream(link) as stream:
            assert b"".join(stream.chunks)
    with_token = {path.split("/")[1] for path, token in seen if token}
    without = {path.split("/")[1] for path, token in seen if not token}
    assert with_token == {"api"}
    assert without == {"oauth2", "media"}
    assert len([path for path, _ in seen if path.startswith("/media/moved/")]) == 1
