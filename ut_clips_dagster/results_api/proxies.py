"""Proxies, from the environment variables that every HTTP client knows: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from ut_clips_dagster.errors import SettingsError


def proxy_for(scheme: str, host: str) -> str | None:
    """The proxy through which a host is reached; None: directly.

    Raises:
        SettingsError: it is no HTTP proxy.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    kind, _, address = proxy.rpartition("://")
    if kind not in ("", "http", "https"):
        raise SettingsError(
            f"{scheme.upper()}_PROXY or ALL_PROXY names a proxy of the kind {kind}; it must be http://host:port."
        )
    return f"{kind or 'http'}://{address}"
