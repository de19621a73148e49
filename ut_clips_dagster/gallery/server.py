"""The gallery on a socket, in a thread: for the command, the demo and the tests alike."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import uvicorn

from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.gallery.app import Gallery, create_app
from ut_clips_dagster.gallery.guard import new_token
from ut_clips_dagster.gallery.index import Index
from ut_clips_dagster.gallery.keeper import LOOK_EVERY_IN_BUCKET_S, LOOK_EVERY_S, Keeper
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.transcripts_table import TranscriptsTable

if TYPE_CHECKING:
    from ut_clips_dagster.storage.session_table import SessionTable
    from ut_clips_dagster.storage.store import Store

_START_TIMEOUT_S = 10.0


class GalleryServer:
    """Serves an archive as long as the `with` block lasts.

    Args:
        store: the archive.
        cache: directory for the index.
        host: address to listen on; others than this machine reach it only if it is not a loopback one.
        port: 0 takes a free one.
        token: who has it may look; a new one if None.
        allowed_hosts: names that the gallery is reached by, beside this machine's own.
    """

    def __init__(  # noqa: PLR0913 - the options of a command
        self,
        store: Store,
        cache: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
        look_every_s: float | None = None,
    ) -> None:
        in_bucket = "://" in store.uri
        every_s = look_every_s or (LOOK_EVERY_IN_BUCKET_S if in_bucket else LOOK_EVERY_S)
        index = Index(cache, store.uri)
        self.keeper = Keeper(index, tables_of(store.uri), every_s)
        self.token = token or new_token()
        app = create_app(Gallery(index, self.keeper, store), self.token, [host, *allowed_hosts])
        self._address = (host, port)
        self._config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,  # the first address holds the token
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is, without the token."""
        if self._socket is None:
            raise RuntimeError("the gallery is not started: use it in a with statement")
        host, port = self._socket.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            host = "127.0.0.1"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def address(self) -> str:
        """Where it is, for whoever may look."""
        return f"{self.url}/?token={self.token}"

    def __enter__(self) -> GalleryServer:  # noqa: PYI034 - typing.Self came with Python 3.11
        host, port = self._address
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=256)
        except (OSError, TypeError, ValueError) as error:  # the latter: a name that none can have
            reason = getattr(error, "strerror", None) or error
            raise ClipsError(f"The gallery cannot listen on {host}, port {port}: {reason}.") from error
        ready = threading.Event()
        self._server = _Server(self._config, ready)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="gallery", daemon=True)
        self._thread.start()
        if not ready.wait(_START_TIMEOUT_S):
            raise ClipsError(f"The gallery did not start within {_START_TIMEOUT_S:.0f} s.")
        self.keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.keeper.close()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()


def tables_of(archive_uri: str) -> Mapping[str, SessionTable]:
    """The archive's tables by the index's names for them."""
    return {
        "clips": MetadataTable(archive_uri),
        "media": MediaTable(archive_uri),
        "transcripts": TranscriptsTable(archive_uri),
    }


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()
