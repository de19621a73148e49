"""Behind a proxy: API, token endpoint and media hosts are reached as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ut_clips_dagster.errors import ApiUnavailableError, LinkRefusedError, MediaUnavailableError, SettingsError
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.simulator import media_file
from ut_clips_dagster_tests.results_api.forward_proxy import ForwardProxy, forward_proxy

Start = Callable[..., Any]


@pytest.fixture
def bench(lab: Start) -> Any:
    return lab()


@pytest.fixture
def proxy(bench: Any) -> Iterator[ForwardProxy]:
    with forward_proxy(bench.server.url) as proxy:
        yield proxy


def fetch(link: str, *allowed_hosts: str) -> bytes:
    media = MediaClient(allow_loopback=True, max_bytes=10**7, allowed_hosts=allowed_hosts)
    with media.stream(link) as stream:
        return b"".join(stream.chunks)


def test_api_token_and_clip_are_asked_through_the_proxy_which_looks_up_their_names(
    bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = bench.link(bench.api()).replace(bench.server.url, "http://media.example")
    monkeypatch.setenv("HTTP_PROXY", proxy.address)

    sessions = bench.api(api_url="http://api.example", token_url="http://auth.example/oauth2/token").list_sessions(
        bench.test_id
    )
    clip = fetch(link, "media.example")

    assert len(sessions.sessions) == 3
    assert clip == media_file(bench.server.world.render(bench.clip)).read()
    assert proxy.requests == [
        "POST http://auth.example/oauth2/token",
        "GET http://api.example/api/v2/sessionResults",
        f"GET {link.partition('?')[0]}",
    ]


def test_what_no_proxy_names_is_asked_directly(
    bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")

    assert fetch(bench.link(bench.api()))

    assert proxy.requests == []


def test_https_is_asked_through_a_tunnel_and_a_proxy_that_refuses_it_is_an_error_that_passes(
    bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")

    with pytest.raises(ApiUnavailableError, match="ProxyError"):
        bench.api(api_url="https://api.example").list_sessions(bench.test_id)
    with pytest.raises(MediaUnavailableError, match="ProxyError"):
        fetch("https://media.example/clip.mp4")

    assert set(proxy.requests) == {"CONNECT api.example:443", "CONNECT media.example:443"}


def test_the_proxys_own_credentials_are_sent_to_it(
    bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@{proxy.address}")

    assert fetch(bench.link(bench.api()))

    assert proxy.credentials == {"Basic " + b64encode(b"user:p@ss").decode()}


def test_a_link_to_an_address_of_the_local_network_is_not_even_shown_to_the_proxy(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)

    with pytest.raises(LinkRefusedError, match="UT_CLIPS_MEDIA_ALLOWED_HOSTS"):
        fetch("https://169.254.169.254/latest/meta-data")

    assert proxy.requests == []


def test_a_proxy_of_another_kind_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")

    with pytest.raises(SettingsError, match="ALL_PROXY names a proxy of the kind socks5") as caught:
        ResultsApi("https://api.example", "https://auth.example/token", "id", "s3cret")

    assert "secret" not in str(caught.value)
