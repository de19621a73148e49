"""Downloads: whole clips only, from places we go to only, within bounds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import urllib3

from ut_clips_dagster.errors import LinkExpiredError, LinkRefusedError, MediaError, MediaUnavailableError, NotAClipError
from ut_clips_dagster.hosts import is_loopback_host, is_public_address
from ut_clips_dagster.results_api import media as media_module
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.simulator import media_file

Start = Callable[..., Any]
FAST = urllib3.Timeout(connect=2, read=0.3)
SIZE = 3_000_000
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x10mdat" + b"12345678"


def client(*, max_bytes: int = 10**7, **changes: Any) -> MediaClient:
    return MediaClient(**{"allow_loopback": True, "max_bytes": max_bytes, "timeout": FAST, **changes})


def fetch(link: str, **changes: Any) -> bytes:
    with client(**changes).stream(link) as stream:
        return b"".join(stream.chunks)


@pytest.fixture
def linked(lab: Start) -> tuple[Any, str, bytes]:
    """A simulator, a link to a clip of three megabytes, and the clip."""
    bench = lab()
    session = bench.server.world.add_session()
    clip = bench.server.world.add_clip(session.session_id, media_size_bytes=SIZE)
    api = bench.api()
    api.request_clip(session.session_id, clip.clip_uuid)
    bench.time.sleep(3)
    url = api.request_clip(session.session_id, clip.clip_uuid).clip_url
    assert url is not None
    return bench, url.get_secret_value(), media_file(bench.server.world.render(clip)).read()


def test_a_clip_arrives_whole_in_chunks(linked: tuple[Any, str, bytes]) -> None:
    _, link, whole = linked
    with client().stream(link) as stream:
        assert (stream.content_type, stream.size_bytes) == ("video/mp4", SIZE)
        chunks = list(stream.chunks)
    assert b"".join(chunks) == whole
    assert max(len(chunk) for chunk in chunks) <= media_module.CHUNK_BYTES


@pytest.mark.parametrize("fault", ["chunked_body", "redirect", "aws_chunked", "slow_body:delay_s=0.01"])
def test_ways_in_which_a_clip_may_come(linked: tuple[Any, str, bytes], fault: str) -> None:
    bench, link, whole = linked
    bench.server.faults.add(fault)
    with client().stream(link) as stream:
        assert stream.size_bytes == (None if fault == "chunked_body" else SIZE)
        assert b"".join(stream.chunks) == whole


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("forbidden:operation=media", LinkExpiredError, "403: the link has expired"),
        ("not_found:operation=media", NotAClipError, "404 instead of the clip"),
        ("bad_request:operation=media", NotAClipError, "400 instead of the clip"),
        ("rate_limited:operation=media", MediaUnavailableError, "429"),
        ("server_error:operation=media,status=503", MediaUnavailableError, "503"),
        ("short_body", MediaUnavailableError, "broke off"),
        ("chunked_cut", MediaUnavailableError, "broke off"),
        ("reset:operation=media", MediaUnavailableError, "failed|broke off"),
        ("stall:operation=media", MediaUnavailableError, "ReadTimeoutError"),
        ("empty_body", NotAClipError, "empty body"),
        ("json_as_video", NotAClipError, r"a page of text \(JSON\) instead of a video"),
        ("html_as_video", NotAClipError, r"a page of text \(HTML\) instead of a video"),
        ("picture_as_video", NotAClipError, "a PNG picture instead of a video"),
        ("compressed", NotAClipError, "compressed"),
        ("expired_token", LinkExpiredError, "400: the link has expired"),
        ("gone", LinkExpiredError, "410: the link has expired"),
        ("html:operation=media", NotAClipError, "text/html instead of a video"),
        ("wrong_content_type", NotAClipError, "text/html instead of a video"),
        ("endless_body", NotAClipError, "larger than 10000000 bytes"),
        ("redirect_private", LinkRefusedError, "is not https"),
    ],
)
def test_ways_in_which_no_clip_comes(
    linked: tuple[Any, str, bytes], fault: str, error: type[MediaError], says: str
) -> None:
    bench, link, _ = linked
    bench.server.faults.add(fault)
    with pytest.raises(error, match=says) as caught:
        fetch(link)
    assert type(caught.value) is error
    assert bench.server.requests.count("media") == 1


def test_a_link_that_is_used_too_late_has_expired(linked: tuple[Any, str, bytes]) -> None:
    bench, link, whole = linked
    bench.time.sleep(890)
    assert fetch(link) == whole
    bench.time.sleep(20)
    with pytest.raises(LinkExpiredError):
        fetch(link)


def test_a_declared_size_above_the_bound_is_refused_before_a_byte_is_read(linked: tuple[Any, str, bytes]) -> None:
    _, link, whole = linked
    with pytest.raises(NotAClipError, match="UT_CLIPS_MAX_CLIP_BYTES"), client(max_bytes=SIZE - 1).stream(link):
        pytest.fail("it was opened")
    assert fetch(link, max_bytes=SIZE) == whole


def test_a_body_that_only_trickles_ends(linked: tuple[Any, str, bytes]) -> None:
    bench, link, _ = linked
    bench.server.faults.add("chunked_body")
    with pytest.raises(MediaUnavailableError, match="within 0 s"):
        fetch(link, max_download_s=0)


@contextmanager
def serving(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends these bytes, one answer per connection, and keeps what it was sent."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the test is over, or the client has gone without a word
                for answer in answers:
                    connection, _ = listener.accept()
                    with connection:
                        got.append(connection.recv(65536))
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/clip.mp4?X-Amz-Signature=s", got
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_a_page_that_calls_itself_a_video_is_none() -> None:
    page = answer(b"\n <!DOCTYPE HTML><html>login</html>", "Content-Type: video/mp4")
    with serving(page) as (link, _), pytest.raises(NotAClipError, match="page of text"):
        fetch(link)


S3_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message><RequestId>x</RequestId></Error>"
DEAD_LINKS = {
    "S3, after its time": ("403 Forbidden", S3_ERROR.format("AccessDenied", "Request has expired")),
    "S3, its token before its time": ("400 Bad Request", S3_ERROR.format("ExpiredToken", "The token has expired.")),
    "Google": ("400 Bad Request", S3_ERROR.format("ExpiredToken", "Invalid argument.")),
    "R2": ("400 Bad Request", S3_ERROR.format("ExpiredRequest", "Request has expired")),
    "Azure": ("403 Forbidden", S3_ERROR.format("AuthenticationFailed", "Signature not valid in the time frame")),
    "CloudFront": ("403 Forbidden", S3_ERROR.format("AccessDenied", "Access denied")),
    "B2": ("401 Unauthorized", '{"code": "expired_auth_token", "status": 401}'),
    "a CDN's 401": ("401 Unauthorized", ""),
    "a CDN's 410": ("410 Gone", "<html>URL signature expired</html>"),
    "a 404 that says so": ("404 Not Found", "link EXPIRED"),
    "a page of 200": ("200 OK", "<html>This link has expired.</html>"),
}
LIVING_LINKS = {
    "no such file": ("404 Not Found", S3_ERROR.format("NoSuchKey", "The specified key does not exist.")),
    "malformed": ("400 Bad Request", S3_ERROR.format("InvalidArgument", "No.")),
    "expired, said too late to be read": ("400 Bad Request", " " * 4096 + "expired"),
    "a page of 200": ("200 OK", "<html>We will be back soon.</html>"),
}


@pytest.mark.parametrize("name", DEAD_LINKS)
def test_every_way_to_say_that_a_link_is_dead_asks_for_a_new_one(name: str) -> None:
    status, body = DEAD_LINKS[name]
    page = answer(body.encode(), "Content-Type: text/html", status=status)
    with serving(page) as (link, _), pytest.raises(LinkExpiredError) as caught:
        fetch(link)
    assert str(caught.value) == f"The media host answered {status[:3]}: the link has expired."


@pytest.mark.parametrize("name", LIVING_LINKS)
def test_an_error_that_does_not_say_so_asks_for_no_new_link(name: str) -> None:
    status, body = LIVING_LINKS[name]
    page = answer(body.encode(), "Content-Type: text/html", status=status)
    with serving(page) as (link, _), pytest.raises(NotAClipError):
        fetch(link)


def test_an_error_whose_body_never_comes_is_judged_by_its_status() -> None:
    stalled = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n"
    with serving(stalled) as (link, _), pytest.raises(NotAClipError, match="400 instead of the clip"):
        fetch(link)


@pytest.mark.parametrize("encoding", ["gzip", "aws-chunked,gzip", "aws-chunked, GZIP", "x-gzip", "br", "identity,zstd"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    """Its bytes are not the clip's; nobody asked for it."""
    with (
        serving(answer(VIDEO, f"Content-Encoding: {encoding}")) as (link, got),
        pytest.raises(NotAClipError, match="compressed"),
    ):
        fetch(link)
    assert b"accept-encoding: identity" in got[0].lower()


@pytest.mark.parametrize("encoding", ["", "identity", "aws-chunked", "aws-chunked,", "utf-8", "none"])
def test_encodings_that_change_no_byte_are_none(encoding: str) -> None:
    with serving(answer(VIDEO, f"Content-Encoding: {encoding}")) as (link, _):
        assert fetch(link) == VIDEO


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("video/MP4; codecs=avc1", "video/mp4"),
        ("binary/octet-stream", "binary/octet-stream"),
        ("", "application/octet-stream"),
        ("video/mp4\x1b[2J", "application/octet-stream"),
        ("![x](http://host/p.png)", "application/octet-stream"),
        ("=cmd|' /C calc'!A0", "application/octet-stream"),
        ("video/" + "x" * 500, "application/octet-stream"),
    ],
)
def test_a_content_type_is_kept_only_if_it_is_one(told: str, kept: str) -> None:
    with serving(answer(VIDEO, f"Content-Type: {told}")) as (link, _), client().stream(link) as stream:
        assert stream.content_type == kept


def test_a_size_that_is_no_number_is_none() -> None:
    for size in ("9" * 5000, "1e3", "-1", "²"):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode("latin-1")
        with serving(head + VIDEO) as (link, _), suppress(MediaError), client().stream(link) as stream:
            assert stream.size_bytes is None


@pytest.mark.parametrize("host", ["evil%0a.example", "x" * 1000])
def test_a_strange_host_is_shown_safely(host: str) -> None:
    with pytest.raises(MediaError) as caught:
        fetch(f"http://{host}/c.mp4?{'X-Amz-Signature=s'}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert "Signature" not in str(caught.value)


def test_no_credentials_are_sent() -> None:
    with serving(answer(VIDEO)) as (link, got):
        assert fetch(link) == VIDEO
    assert b"authorization" not in got[0].lower()
    assert b"cookie" not in got[0].lower()


def test_redirects_end() -> None:
    loop = b"HTTP/1.1 302 Found\r\nLocation: /clip.mp4?again\r\nContent-Length: 0\r\n\r\n"
    with serving(*[loop] * 6) as (link, got), pytest.raises(LinkRefusedError, match="more than 5 times"):
        fetch(link)
    assert len(got) == 6


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1.evil.example.invalid@169.254.169.254/",
        "file:///etc/passwd",
        "ftp://example.com/x",
        "http://example.com/x",
        "gopher://127.0.0.1/",
        "https://",
    ],
)
def test_a_redirect_to_elsewhere_is_refused(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = f"HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with serving(moved) as (link, _):
        monkeypatch.setattr(socket.socket, "connect", only_loopback(socket.socket.connect))
        with pytest.raises((LinkRefusedError, MediaUnavailableError)):
            fetch(link)


def only_loopback(connect: Callable[..., Any]) -> Callable[..., Any]:
    """No test reaches out: what is not this machine does not answer."""

    def guarded(self: socket.socket, address: Any) -> Any:
        if not is_loopback_host(address[0]):
            raise TimeoutError
        return connect(self, address)

    return guarded


def resolving_to(monkeypatch: pytest.MonkeyPatch, address: str, port: int) -> None:
    """Every name means `address`, but connections to it reach a port of ours, so that sending can be seen."""

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(media_module, "_guarded", pretending(media_module._guarded, address))


class _Peer:
    """A connection that says it leads somewhere else."""

    def __init__(self, sock: Any, address: str) -> None:
        self.sock, self.address, self.closed = sock, address, False

    def getpeername(self) -> tuple[str, int]:
        return self.address, 443

    def close(self) -> None:
        self.closed = True
        self.sock.close()


def pretending(guard: Callable[..., Any], address: str) -> Callable[..., Any]:
    def guarded(sock: Any, host: str) -> Any:
        guard(_Peer(sock, address), host)
        return sock

    return guarded


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "::1",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:10.0.0.1",
    "2002:a00:1::",
    "64:ff9b::a00:1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_into_the_local_network_is_refused_before_anything_is_sent(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(answer(b"secret")) as (link, got):
        resolving_to(monkeypatch, address, urllib3.util.parse_url(link).port or 0)
        for allow_loopback in (True, False):
            with pytest.raises(LinkRefusedError, match="UT_CLIPS_MEDIA_ALLOWED_HOSTS"):
                fetch("https://clips.example.com/c.mp4?sig=1", allow_loopback=allow_loopback)
    assert b"".join(got) == b""


def test_a_name_that_resolves_to_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real check, on the real connection."""
    with serving(answer(b"secret")) as (link, got):
        port = urllib3.util.parse_url(link).port
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(LinkRefusedError, match=r"clips\.example\.com, which is an address of the local network"):
            fetch(f"https://clips.example.com:{port}/c.mp4?sig=1")
    assert b"".join(got) == b""


def test_a_host_that_is_allowed_may_be_of_the_local_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(VIDEO)) as (link, _):
        port = urllib3.util.parse_url(link).port
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert fetch(f"http://Minio.lan:{port}/c.mp4", allow_loopback=False, allowed_hosts=("minio.LAN",)) == VIDEO


@pytest.mark.parametrize(
    "link",
    [
        "http://clips.example.com/c.mp4",
        "http://10.0.0.1/c.mp4",
        "http://169.254.169.254/latest/",
        "http://0.0.0.0/c.mp4",
        "http://127.1/c.mp4",
        "http://localhost./c.mp4",
        "ftp://127.0.0.1/c.mp4",
        "file:///etc/passwd",
        "//127.0.0.1/c.mp4",
        "c.mp4",
        "",
        "https://[::1/c.mp4",
        "https:///c.mp4",
    ],
)
def test_links_that_are_not_followed(link: str) -> None:
    with pytest.raises(LinkRefusedError):
        fetch(link)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_loopback_is_for_a_loopback_api_only(host: str) -> None:
    for scheme in ("http", "https"):
        with pytest.raises(LinkRefusedError):
            fetch(f"{scheme}://{host}:1/c.mp4", allow_loopback=False)
        with pytest.raises(MediaUnavailableError):
            fetch(f"{scheme}://{host}:1/c.mp4")


def test_a_link_cannot_name_one_host_to_the_check_and_another_to_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket.socket, "connect", only_loopback(socket.socket.connect))
    for link in (r"http://169.254.169.254\@allowed.example/", r"http://169.254.169.254#@allowed.example/"):
        with pytest.raises(LinkRefusedError):
            fetch(link, allowed_hosts=("allowed.example",))


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public_address(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "52.216.0.1", "2600:1f18::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public_address(address)


def test_a_connection_is_not_reused_after_a_body_that_was_left(linked: tuple[Any, str, bytes]) -> None:
    _, link, whole = linked
    media = client()
    with media.stream(link) as stream:
        next(stream.chunks)
    with media.stream(link) as stream:
        assert b"".join(stream.chunks) == whole
