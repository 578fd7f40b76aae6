"""Selects a request's proxy: the only place that reads the environment for it, for the Hub's API and files.

`HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` name proxies, `NO_PROXY` hosts to connect to directly, in upper or lower
case; lower case wins. The two clients read `NO_PROXY` differently (httpx2 supports no bare IPv6 address), so both are
given the proxy and read nothing themselves.
"""

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies

from app.domain.errors import Failed, Reason
from worker.download.addresses import origin

_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_for(url: str) -> str | None:
    """Return the proxy's URL, or `None` for a direct connection.

    Raises `Failed` for an unsupported kind of proxy, unless `NO_PROXY` excepts the address.
    """
    proxies, (kind, host, port) = getproxies(), origin(url)
    proxy = proxies.get(kind) or proxies.get("all")
    if not proxy or is_excepted(proxies.get("no", ""), host or "", port):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in _SCHEMES:
        message = (
            f"The worker's environment names a proxy of the kind {scheme}://, which is not supported. Set HTTPS_PROXY "
            f"(or ALL_PROXY) to an address that begins with {', '.join(f'{one}://' for one in _SCHEMES)}, or name the "
            "Hub in NO_PROXY, then restart the worker and retry."
        )
        raise Failed(Reason.FAULT, message)
    return proxy


def is_excepted(no_proxy: str, host: str, port: int | None) -> bool:
    """Whether `NO_PROXY` covers the host.

    Its entries, separated by commas or spaces: `*`; a name, which includes its subdomains (`.name` and `*.name` mean
    the same); an IPv4 or IPv6 address, bare or in brackets; a network such as 10.0.0.0/8. Each but a network may end
    in `:port`.
    """
    host = host.lower().rstrip(".")
    return any(_names(entry, host, port) for entry in no_proxy.lower().replace(",", " ").split())


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    name, wanted = _split(entry)
    if wanted is not None and wanted != str(port):
        return False
    try:
        address = ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def _split(entry: str) -> tuple[str, str | None]:
    """Return the entry's host, without brackets, and its port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":") or None
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port or None
    return entry, None
