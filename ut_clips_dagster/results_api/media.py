"""Download of clips by their signed links: a client of its own that never carries the token.

urllib3 reads the bytes: measured on loopback it streams several times faster than httpx (see benchmarks/).
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationParseError, ProtocolError
from urllib3.util import parse_url

from ut_clips_dagster.errors import LinkExpiredError, LinkRefusedError, MediaUnavailableError, NotAClipError
from ut_clips_dagster.hosts import is_loopback_host, is_public_address
from ut_clips_dagster.plain_text import one_line
from ut_clips_dagster.results_api.content import only_video, says_expired
from ut_clips_dagster.results_api.proxies import proxy_authorization, proxy_for

CHUNK_BYTES = 128 * 1024
"""Measured: with 1 MiB a third of the speed, as every chunk is fresh memory of the kernel's."""
TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
MAX_REDIRECTS = 5
MAX_LENGTH_DIGITS = 18
"""Of a Content-Length: a longer one is no size of anything."""
MAX_DOWNLOAD_S = 3600
"""A body that only trickles would else hold its thread for ever."""
OK, REQUEST_TIMEOUT, TOO_MANY_REQUESTS, SERVER_ERROR = 200, 408, 429, 500
DEAD_LINK = (401, 403, 410)
"""What only a link can be the cause of, as nothing but the link is sent: a new one is worth asking for."""
REDIRECTS = (301, 302, 303, 307, 308)
COMPRESSIONS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"})
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml")
UNKNOWN_TYPE = "application/octet-stream"
_CONTENT_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")
ERROR_BYTES = 4096
"""So much of an error's body is read, to see whether it says that the link has expired."""
ERROR_BODY_S = 5.0


class _AddressRefusedError(Exception):
    """A connection was made to an address that may not be talked to; nothing was sent."""


class _GuardedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> Any:
        return _guarded(super()._new_conn(), self.host)


class _GuardedHTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> Any:
        return _guarded(super()._new_conn(), self.host)


def _guarded(sock: Any, host: str) -> Any:
    """Look at the address that was really connected to: a name may resolve to anything, differently each time."""
    if not is_loopback_host(host) and not is_public_address(sock.getpeername()[0]):
        sock.close()
        raise _AddressRefusedError
    return sock


class _GuardedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTPConnection


class _GuardedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPSConnection


@dataclass(frozen=True)
class MediaStream:
    """A clip being downloaded."""

    content_type: str
    size_bytes: int | None
    """Size the server declared; None when it sends chunks."""
    chunks: Iterator[bytes]
    """Raises MediaUnavailableError when the body ends early, NotAClipError when it is too large or no video."""


class MediaClient:
    """Follows a signed link, and redirects, to a place we allow, and streams what is there.

    Links are followed to https hosts on the public internet. Loopback hosts (http too) are followed only where the
    API itself is one: the simulator. `allowed_hosts` may lie on the local network. Through a proxy the same links are
    followed, but it is the proxy that looks up a host's address, and that has to keep us out of the local network.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool,
        max_bytes: int,
        allowed_hosts: Iterable[str] = (),
        timeout: urllib3.Timeout = TIMEOUT,
        max_download_s: float = MAX_DOWNLOAD_S,
    ) -> None:
        self._allow_loopback = allow_loopback
        self._max_bytes = max_bytes
        self._max_download_s = max_download_s
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._options: dict[str, Any] = {"maxsize": 8, "timeout": timeout, "retries": False}
        self._proxied: dict[str, urllib3.ProxyManager] = {}
        self._streaming: set[urllib3.BaseHTTPResponse] = set()
        self._trusted = urllib3.PoolManager(**self._options)
        self._guarded = urllib3.PoolManager(**self._options)
        self._guarded.pool_classes_by_scheme = {"http": _GuardedHTTPPool, "https": _GuardedHTTPSPool}

    @contextmanager
    def stream(self, link: str) -> Iterator[MediaStream]:
        """Open a link.

        Raises:
            LinkExpiredError: 401, 403, 410, or any other answer that says so: ask for a new link.
            LinkRefusedError: the link or a redirect leads where we do not go.
            MediaUnavailableError: transport errors, 5xx, a body shorter than declared.
            NotAClipError: another status, no video, or more than `max_bytes`.
        """
        response = self._open(link)
        self._streaming.add(response)
        try:
            yield self._checked(response)
        except HTTPError as error:
            raise _unavailable(error) from None
        finally:
            self._streaming.discard(response)
            response.close()  # a connection in the middle of a body is of no use to the next download

    def abandon(self) -> None:
        """Wake every thread that waits for bytes: they find their stream at its end, too early."""
        for response in list(self._streaming):
            with suppress(OSError, ValueError, RuntimeError):  # it ends by itself in this moment
                response.shutdown()

    def _open(self, link: str) -> urllib3.BaseHTTPResponse:
        for _ in range(1 + MAX_REDIRECTS):
            pool = self._pool_for(link)
            try:
                response = pool.request("GET", link, redirect=False, preload_content=False, decode_content=False)
            except _AddressRefusedError:
                raise _refused(parse_url(link).host) from None
            except (HTTPError, LocationParseError) as error:
                raise _unavailable(error) from None
            if response.status not in REDIRECTS:
                return response
            response.close()
            link = urljoin(link, response.headers.get("location", ""))
        raise LinkRefusedError(f"The clip's link redirects more than {MAX_REDIRECTS} times.")

    def _pool_for(self, link: str) -> urllib3.PoolManager:
        try:
            parts = parse_url(link)  # the parser that connects, so that no link means one host here and another there
            host = (parts.host or "").strip("[]").lower()
        except LocationParseError:
            raise LinkRefusedError("The clip's link is no URL.") from None
        proxy = proxy_for(parts.scheme or "", host, parts.port)
        if host in self._allowed_hosts and parts.scheme in ("http", "https"):
            return self._through(proxy) if proxy else self._trusted
        loopback = is_loopback_host(host) and self._allow_loopback
        if not host or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
            raise LinkRefusedError(f"The clip's link is not https ({parts.scheme or 'no scheme'}://{one_line(host)}).")
        if is_loopback_host(host) and not self._allow_loopback:
            raise LinkRefusedError("The clip's link leads to this machine (loopback), but the API is elsewhere.")
        if proxy and not loopback and _is_local_address(host):
            raise _refused(host)
        return self._through(proxy) if proxy else self._guarded

    def _through(self, proxy: str) -> urllib3.ProxyManager:
        if proxy not in self._proxied:
            headers = proxy_authorization(proxy)
            self._proxied[proxy] = urllib3.ProxyManager(proxy, proxy_headers=headers, **self._options)
        return self._proxied[proxy]

    def _checked(self, response: urllib3.BaseHTTPResponse) -> MediaStream:
        status = response.status
        if status in (REQUEST_TIMEOUT, TOO_MANY_REQUESTS) or status >= SERVER_ERROR:
            raise MediaUnavailableError(f"The media host answered {status}.")
        content_type = _content_type(response)
        if status in DEAD_LINK or ((status != OK or _is_text(content_type)) and says_expired(_first_bytes(response))):
            raise LinkExpiredError(f"The media host answered {status}: the link has expired.")
        if status != OK:
            raise NotAClipError(f"The media host answered {status} instead of the clip.")
        if _is_text(content_type):
            raise NotAClipError(f"The media host sent {content_type} instead of a video.")
        if COMPRESSIONS.intersection(re.split(r"[\s,]+", response.headers.get("content-encoding", "").lower())):
            raise NotAClipError("The media host sent the clip compressed, which was not asked for.")
        declared = response.headers.get("content-length", "")
        size = int(declared) if declared.isdecimal() and len(declared) <= MAX_LENGTH_DIGITS else None
        if size is not None and size > self._max_bytes:
            raise self._too_large()
        return MediaStream(content_type, size, only_video(self._chunks(response)))

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        received = 0
        give_up_at = time.monotonic() + self._max_download_s
        try:
            for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                received += len(chunk)
                if received > self._max_bytes:
                    raise self._too_large()
                if time.monotonic() > give_up_at:
                    raise MediaUnavailableError(f"The clip did not arrive within {self._max_download_s:.0f} s.")
                yield chunk
        except ProtocolError:  # reset, or fewer bytes than declared
            raise MediaUnavailableError("The clip's body broke off before its end.") from None
        except HTTPError as error:
            raise _unavailable(error) from None
        if not received:
            raise NotAClipError("The media host sent an empty body.")

    def _too_large(self) -> NotAClipError:
        return NotAClipError(
            f"The clip is larger than {self._max_bytes} bytes; raise UT_CLIPS_MAX_CLIP_BYTES if it is meant to be."
        )


def _content_type(response: urllib3.BaseHTTPResponse) -> str:
    """What the host calls it, if that is a MIME type: it is a stranger's text, and shown and stored."""
    told = response.headers.get("content-type", "").split(";")[0].strip().lower()
    return told if _CONTENT_TYPE.fullmatch(told) else UNKNOWN_TYPE


def _is_text(content_type: str) -> bool:
    return content_type.startswith(TEXT_TYPES) or content_type.endswith(("+json", "+xml"))


def _first_bytes(response: urllib3.BaseHTTPResponse) -> bytes:
    """The beginning of an error's body, in bounds of size and time; what cannot be read says nothing."""
    head = b""
    give_up_at = time.monotonic() + ERROR_BODY_S
    with suppress(HTTPError, OSError):
        while len(head) < ERROR_BYTES and time.monotonic() < give_up_at:
            piece = response.read1(ERROR_BYTES - len(head), decode_content=False)
            if not piece:
                break
            head += piece
    return head


def _is_local_address(host: str) -> bool:
    """Whether a host is an address that is not public, however it is written: a proxy takes 127.1 or 0x7f000001 too."""
    host = host.rstrip(".")
    with suppress(OSError):  # a name, or IPv6
        host = socket.inet_ntoa(socket.inet_aton(host))
    try:
        return is_loopback_host(host) or not is_public_address(host)
    except ValueError:  # a name
        return False


def _refused(host: str | None) -> LinkRefusedError:
    return LinkRefusedError(
        f"The clip's link leads to {one_line(host or '')}, which is an address of the local network. "
        "If that is meant to be, add the host to UT_CLIPS_MEDIA_ALLOWED_HOSTS."
    )


def _unavailable(error: Exception) -> MediaUnavailableError:
    """Only the error's kind: urllib3's messages hold the path and query, which is the signed link."""
    return MediaUnavailableError(f"The media host failed while the clip was being downloaded ({type(error).__name__}).")
