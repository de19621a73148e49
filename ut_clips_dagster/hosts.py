"""Which hosts are this machine, and which addresses are not on the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NAT64 = ip_network("64:ff9b::/96")


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
    inner = _embedded(ip) if isinstance(ip, IPv6Address) else None
    return (inner or ip).is_global and not (inner or ip).is_multicast


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, or NAT64."""
    nat64 = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    return ip.ipv4_mapped or ip.sixtofour or nat64
