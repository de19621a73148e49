"""What a request asks for, and the log of all of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from starlette.requests import Request

Api = Literal["json", "xml"]
Operation = Literal[
    "upload_start",  # opens a resumable (JSON) or a multipart (XML) session
    "upload_chunk",  # a part of the data; more follows
    "upload_final",  # the request after which the object exists: the last chunk, a one-request upload, "complete"
    "upload_status",  # "how much do you have?", or the session is cancelled
    "read",
    "list",
    "delete",
    "copy",
    "other",  # buckets, batches, metadata updates
]

_JSON_PATH = re.compile(r"^/(?:storage/v1|upload/storage/v1|download/storage/v1|resumable/upload|batch)(?:/|$)")
_CONTENT_RANGE = re.compile(r"^bytes (?:(?P<first>\d+)-(?P<last>\d+)|\*)/(?P<total>\d+|\*)$")


@dataclass(frozen=True)
class ContentRange:
    """A `Content-Range` of a resumable upload; `first` is None in a status query, `total` None while unknown."""

    first: int | None
    last: int | None
    total: int | None

    @classmethod
    def parse(cls, header: str | None) -> ContentRange | None:
        """Read the header; None stands for "the whole object in one request"."""
        if header is None:
            return None
        match = _CONTENT_RANGE.match(header.strip())
        if match is None:
            raise ValueError(f"not a Content-Range of an upload: {header!r}")
        first, last, total = match["first"], match["last"], match["total"]
        return cls(
            None if first is None else int(first),
            None if last is None else int(last),
            None if total == "*" else int(total),
        )

    @property
    def is_final(self) -> bool:
        return self.total is not None and (self.last is None or self.last + 1 == self.total)


@dataclass(frozen=True)
class RequestRecord:
    """One request as the gateway saw it. `status` is None when the connection was cut instead of answered."""

    api: Api
    operation: Operation
    method: str
    path: str
    query: dict[str, str]
    name: str  # the object's, or ""
    status: int | None
    fault: str | None = None
    client: str = ""
    """The address that it came from; and when it came and ended, in seconds since the epoch."""
    began: float = 0.0
    ended: float = 0.0


class RequestLog(list[RequestRecord]):
    """Every request since the last `clear()`, in the order in which they ended."""

    def of(self, *operations: Operation, contains: str = "") -> list[RequestRecord]:
        """Return the requests of these operations whose path or object name contains a text."""
        return [
            record
            for record in list(self)
            if record.operation in operations and contains in f"{record.path} {record.name}"
        ]


def classify(request: Request) -> tuple[Api, Operation]:
    """Tell which API a request speaks and what it is about."""
    if _JSON_PATH.match(request.url.path):
        return "json", _json_operation(request)
    return "xml", xml_operation(request)


def object_name(request: Request, api: Api, head: bytes) -> str:
    """Return the name of the object that a request is about, which may stand in an upload's body."""
    path = request.scope["raw_path"].decode()
    if api == "xml":
        return unquote(path.lstrip("/").partition("/")[2])
    if match := re.search(r"/b/[^/]+/o/([^/]+)", path):
        return unquote(match[1])
    if named := re.search(rb'"name": *("(?:[^"\\]|\\.)*")', head):
        return str(json.loads(named[1]))
    return query_of(request).get("name", "")


def query_of(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True))


def _json_operation(request: Request) -> Operation:
    path, method = request.url.path, request.method
    if path.startswith(("/upload/", "/resumable/")):
        return _json_upload_operation(request)
    if re.search(r"/(rewriteTo|copyTo|compose)(/|$)", path):
        return "copy"
    if re.search(r"/b/[^/]+/o/?$", path) and method == "GET":
        return "list"
    if re.search(r"/b/[^/]+/o/.+", path):
        if method in ("GET", "HEAD"):
            return "read"
        if method == "DELETE":
            return "delete"
    return "other"


def _json_upload_operation(request: Request) -> Operation:
    query = query_of(request)
    if query.get("uploadType") != "resumable":
        return "upload_final"
    content_range = request.headers.get("content-range")
    if request.method == "DELETE" or content_range == "bytes */*":
        return "upload_status"
    if "upload_id" not in query:
        return "upload_start"
    try:
        parsed = ContentRange.parse(content_range)
    except ValueError:
        return "other"
    return "upload_final" if parsed is None or parsed.is_final else "upload_chunk"


def xml_operation(request: Request) -> Operation:
    query, method = query_of(request), request.method
    if "/" not in request.url.path.strip("/"):
        return "list" if method == "GET" else "other"
    if method == "PUT":
        if "x-goog-copy-source" in request.headers:
            return "copy"
        return "upload_chunk" if "uploadId" in query else "upload_final"
    by_method: dict[str, Operation] = {
        "GET": "read",
        "HEAD": "read",
        "DELETE": "upload_status" if "uploadId" in query else "delete",
        "POST": "upload_start" if "uploads" in query else "upload_final",
    }
    return by_method.get(method, "other")
