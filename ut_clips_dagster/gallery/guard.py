"""Who may look: a token, a list of host names, and headers that keep everything within the page.

The token comes once in the address that is printed, becomes a cookie that scripts and other sites cannot use, and
leaves the address again. The list of hosts keeps out pages that make their own name lead to this machine.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ut_clips_dagster.errors import SettingsError

HEALTH = "/healthz"
PUBLIC = ("/static/style.css", "/static/icon.svg")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MIN_TOKEN = 16
MAX_TOKEN = 4096
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
DEFAULTS = {"cross-origin-resource-policy": "same-origin", "cache-control": "no-store"}
"""What an answer may say otherwise."""
_STATIC = Path(__file__).parent / "static"


def new_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(32)


def token_of(path: Path) -> str:
    """The token that a file holds; a new one is written to it when it is missing.

    Raises:
        SettingsError: it cannot be read or written, or holds too short a token.
    """
    try:
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(new_token() + "\n", encoding="ascii")
        with path.open(encoding="ascii") as file:
            token = file.read(MAX_TOKEN).strip()  # a device, such as /dev/zero, does not end
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"The token file {path} cannot be used: {error}.") from error
    if len(token) < MIN_TOKEN or not token.isprintable():
        raise SettingsError(f"The token in {path} is shorter than {MIN_TOKEN} characters, or cannot be printed.")
    return token


class Guard:
    """Stands before the application, for every request and answer."""

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(host.lower().strip("[]") for host in (*LOOPBACK, *hosts))
        # cookies know no ports: two galleries on one machine must not take each other's away
        self._cookie = f"ut_clips_gallery_{sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULTS.items():
                    headers.setdefault(name, value)
                headers.update(HEADERS)
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        """What is answered instead of the application; None lets the request pass."""
        if request.url.path == HEALTH:
            return PlainTextResponse("ok\n")
        if _host_of(request.headers) not in self._hosts:
            return PlainTextResponse("This name is not one that the gallery is known by; see --allow-host.\n", 421)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Method not allowed\n", 405, {"allow": "GET, HEAD"})
        # the page that asks for the token has a face, too
        return None if request.url.path in PUBLIC else self._without_token(request)

    def _without_token(self, request: Request) -> Response | None:
        if given := request.query_params.get("token"):
            return self._admit(request) if self._is_token(given) else _ask(request, "That token is not the right one.")
        if self._is_token(request.cookies.get(self._cookie, "")):
            return None
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("Open the address that `ut-clips gallery` printed.\n", 401)
        return _again(request) if request.headers.get("sec-fetch-site") == "cross-site" else _ask(request)

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode())

    def _admit(self, request: Request) -> Response:
        rest = [(k, v) for k, v in parse_qsl(request.url.query, keep_blank_values=True) if k != "token"]
        # one slash at the beginning: two would lead to another host
        target = "/" + request.url.path.lstrip("/\\") + (f"?{urlencode(rest)}" if rest else "")
        answer = RedirectResponse(target, 303)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/", secure=secure)
        return answer


def _host_of(headers: Headers) -> str:
    try:
        return (urlsplit(f"//{headers.get('host', '')}").hostname or "").lower()
    except ValueError:
        return ""


def _again(request: Request) -> Response:
    """A link on another site, such as Dagster's, brings no strict cookie; our own page, loaded again, does."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    page = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Clips</title>
<meta http-equiv="refresh" content="0;url={html.escape(target)}"></head><body><p>Opening…</p></body></html>"""
    return Response(page, 200, media_type="text/html")


def _ask(request: Request, problem: str = "") -> Response:
    """A page that asks for the token, and comes back to the same address."""
    page = (_STATIC / "token.html").read_text(encoding="utf-8")
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(key)}" value="{html.escape(value)}">'
        for key, value in request.query_params.multi_items()
        if key != "token"
    )
    filled = page.replace("<!--problem-->", html.escape(problem)).replace("<!--rest-->", hidden)
    return Response(filled, 401, media_type="text/html")
