"""Proxies, from the environment variables that every HTTP client knows: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpx
from urllib3.util import parse_url

from ut_clips_dagster.errors import SettingsError

DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(scheme: str, host: str, port: int | None = None) -> str | None:
    """The proxy through which a host is reached, as a URL that urllib3 and httpx read alike; None: directly.

    Raises:
        SettingsError: it is no HTTP proxy; the message names the variable and nothing of its value.
    """
    proxies = getproxies()
    name = scheme if proxies.get(scheme) else "all"
    proxy = proxies.get(name)
    if not proxy or proxy_bypass(f"{host}:{port or DEFAULT_PORTS.get(scheme, '')}"):
        return None
    try:
        return _checked(proxy)
    except (ValueError, httpx.InvalidURL):  # urllib3's is a ValueError
        raise SettingsError(
            f"{name.upper()}_PROXY names no HTTP proxy; it must be http://host:port or http://user:password@host:port, "
            "with special characters of the password percent-encoded: %23 for #, %2F for /."
        ) from None  # the cause would print the URL, credentials included


def transport_to(url: str) -> httpx.HTTPTransport:
    """A transport to the host of a URL, through its proxy if it has one.

    Raises:
        SettingsError: it is no HTTP proxy.
    """
    parts = httpx.URL(url)
    return httpx.HTTPTransport(proxy=proxy_for(parts.scheme, parts.host, parts.port))


def proxy_authorization(proxy: str) -> dict[str, str]:
    """The header with a proxy's credentials, as httpx makes it: urllib3's own cannot hold what is not Latin-1."""
    user, _, password = (parse_url(proxy).auth or "").partition(":")
    if not user and not password:
        return {}
    return {"Proxy-Authorization": f"Basic {b64encode(f'{unquote(user)}:{unquote(password)}'.encode()).decode()}"}


def _checked(proxy: str) -> str:
    kind, _, address = proxy.partition("://") if "://" in proxy else ("http", "", proxy)
    parts = parse_url(f"{kind.lower()}://{address}")
    if parts.scheme not in DEFAULT_PORTS or not parts.host or parts.port == 0:
        raise ValueError
    if parts.path not in (None, "", "/") or parts.query is not None or parts.fragment is not None:
        raise ValueError  # the rest of a password with an unencoded character
    return str(httpx.URL(parts.url))
