"""Behind a proxy: API, token endpoint and media hosts are reached as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""

from __future__ import annotations

import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ut_clips_dagster.errors import ApiUnavailableError, LinkRefusedError, MediaUnavailableError, SettingsError
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.results_api.proxies import proxy_for
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


def test_no_proxy_may_name_a_port(bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    monkeypatch.setenv("NO_PROXY", f"{bench.server.url.removeprefix('http://')},media.example:80")

    assert fetch(bench.link(bench.api()))

    assert proxy.requests == []
    assert proxy_for("http", "media.example") is None
    assert proxy_for("http", "media.example", 8080) == f"http://{proxy.address}"


def test_https_is_asked_through_a_tunnel_and_a_proxy_that_refuses_it_is_an_error_that_passes(
    bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")

    with pytest.raises(ApiUnavailableError, match="ProxyError"):
        bench.api(api_url="https://api.example").list_sessions(bench.test_id)
    with pytest.raises(MediaUnavailableError, match="ProxyError"):
        fetch("https://media.example/clip.mp4")

    assert set(proxy.requests) == {"CONNECT api.example:443", "CONNECT media.example:443"}


@pytest.mark.parametrize(
    ("kind_and_credentials", "sent"),
    [
        ("http://user:p%40ss@", "user:p@ss"),
        ("HTTP://user:p%E2%82%ACss@", "user:p€ss"),
        ("Http://user:p@ss@", "user:p@ss"),
        ("http://user@", "user:"),
        ("user:p%23%2F@", "user:p#/"),
    ],
)
def test_api_token_and_clip_send_the_proxy_the_same_credentials(
    bench: Any, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, kind_and_credentials: str, sent: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"{kind_and_credentials}{proxy.address}")

    assert fetch(bench.link(bench.api()))

    assert len(proxy.requests) == 4  # the token, the clip twice, its bytes
    assert proxy.credentials == {"Basic " + b64encode(sent.encode()).decode()}


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "10.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "localhost.",
        "[fd00:ec2::254]",
    ],
)
def test_a_link_to_the_local_network_however_written_is_shown_to_the_proxy_only_if_its_host_is_allowed(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)

    with pytest.raises(LinkRefusedError, match="UT_CLIPS_MEDIA_ALLOWED_HOSTS"):
        fetch(f"https://{host}/latest/meta-data")

    assert proxy.requests == []
    with pytest.raises(MediaUnavailableError, match="ProxyError"):
        fetch(f"https://{host}/clip.mp4", host.strip("[]"))
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("host", ["8.8.8.8", "134744072", "media.example.", "1.media.example"])
def test_a_public_address_or_a_name_is_shown_to_the_proxy(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)

    with pytest.raises(MediaUnavailableError, match="ProxyError"):
        fetch(f"https://{host}/clip.mp4")

    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://user:s3cret@127.0.0.1:1080",
        "http://user:s3cret@127.0.0.1:99999",
        "http://user:s3cret@127.0.0.1:0",
        "http://user:s3cret@999.0.0.1:3128",
        "http://user:s3cret@:3128",
        "http://user:#s3cret@127.0.0.1:3128",
        "http://user:/s3cret@127.0.0.1:3128",
        "http://user:12#s3cret@127.0.0.1:3128",
        "http://user:12/s3cret@127.0.0.1:3128",
        "http://user:12?s3cret@127.0.0.1:3128",
        "http://user:a://s3cret@127.0.0.1:3128",
        "user:s3cret://s3cret@127.0.0.1:3128",
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda: ResultsApi("https://api.example", "http://127.0.0.1/token", "id", "secret"),
        lambda: ResultsApi("http://127.0.0.1", "https://auth.example/token", "id", "secret"),
        lambda: fetch("https://media.example/clip.mp4"),
    ],
    ids=["api", "token", "clip"],
)
def test_what_is_no_http_proxy_is_refused_before_anything_is_sent_and_only_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[], object], proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY names no HTTP proxy") as caught:
        use()

    assert not {part for part in ("socks5", "127.0.0.1", "user:a", "99999") if part in str(caught.value)}
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_proxy_that_is_not_used_may_be_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")

    with pytest.raises(SettingsError, match=r"^ALL_PROXY"):
        proxy_for("https", "api.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    ResultsApi("https://api.example", "https://auth.example/token", "id", "secret").close()
