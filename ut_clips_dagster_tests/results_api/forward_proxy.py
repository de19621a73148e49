"""A forward proxy that knows one server only, whatever host it is asked for, and opens no tunnel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class ForwardProxy(ThreadingHTTPServer):
    """Keeps what it was asked for, each as method and URL without its query, and the credentials it was given."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = httpx.URL(upstream)
        self.requests: list[str] = []
        self.credentials: set[str | None] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ForwardProxy

    def do_GET(self) -> None:
        self.keep()
        asked = httpx.URL(self.path)
        answer = httpx.request(
            self.command,
            asked.copy_with(scheme="http", netloc=self.server.upstream.netloc),
            headers={name: value for name, value in self.headers.items() if name.lower() != "host"},
            content=self.rfile.read(int(self.headers.get("Content-Length", 0))),
            trust_env=False,
        )
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.multi_items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_POST = do_GET  # noqa: N815 - the base class's way to name methods

    def do_CONNECT(self) -> None:
        self.keep()
        self.send_error(403)

    def keep(self) -> None:
        self.server.requests.append(f"{self.command} {self.path.partition('?')[0]}")
        self.server.credentials.add(self.headers.get("Proxy-Authorization"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def forward_proxy(upstream: str) -> Iterator[ForwardProxy]:
    with ForwardProxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
