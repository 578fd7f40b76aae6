"""Addresses: the origin of a URL, and which addresses are inside, where no remote server may send a worker.

A Hub's redirect to an inside address would make the worker fetch what only this machine, or its cloud, should request
(CWE-918). Private networks are not inside: mirrors and content stores are there.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_METADATA = tuple(
    map(
        ip_network,
        (
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure's platform; its metadata and most other clouds' are at a link-local address
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google Cloud
        ),
    )
)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def is_inside(address: str) -> bool:
    """Whether an IP address is loopback, link-local, unspecified, or a cloud's metadata service."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or _of_nat64(ip)
        ip = embedded or ip
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or any(ip in network for network in _METADATA)


def leads_inside(host: str) -> bool:
    """Whether a host is or resolves to an inside address. A name that can't be resolved is not inside."""
    if host.lower().rstrip(".") == "localhost" or is_inside(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(is_inside(str(address[0])) for *_, address in found)


def _of_nat64(ip: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in ip_network("64:ff9b::/96") else None
