"""Which hosts are this machine, and which addresses are not on the public internet."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback_host(host: str) -> bool:
    """Whether the host name means this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_public_address(address: str) -> bool:
    """Whether an IP address is globally reachable: no loopback, private, link-local or reserved range.

    The cloud metadata services (169.254.169.254, fd00:ec2::254) are link-local or private, so they are not public.
    """
    ip = ip_address(address.split("%", 1)[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_global and not ip.is_multicast
