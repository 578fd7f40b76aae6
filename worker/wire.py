"""One file's bytes over HTTP: the request, its redirects, and what every way it can go wrong means.

The Hub redirects large files to a CDN, by links that are signed and expire. The token goes to the Hub's own origin
only.
"""

import socket
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, make_headers
from urllib3.util import parse_url

from app.domain.errors import Failed, Reason
from worker.addresses import origin
from worker.hub import Hub
from worker.listing import HubFile
from worker.proxies import proxy_for
from worker.refusals import PROXY_REFUSES, RATE_LIMITED, retry_after

_HOPS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_BLOCK = 1 << 18
_WINDOW = 4 << 20
"""Bytes that a connection may have under way: what the kernel holds is lost, too, when the process is killed."""


class Trouble(Exception):
    """A request failed in a way that may pass. `relocate`: ask the Hub for a new link. `after`: seconds asked to wait."""

    def __init__(self, reason: Reason, message: str, *, after: float | None = None, relocate: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.after = after
        self.relocate = relocate


class NoRanges(Exception):
    """The server sent the file from its beginning although a later part was asked for."""


class WrongLength(Exception):
    """What the server has is not as long as the manifest says."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a connection counts as stalled: less than `rate` bytes a second over `window` seconds."""

    window: float
    rate: float


class Wire:
    """Connections to the Hub and its CDN, kept alive and shared by threads."""

    def __init__(self, hub: Hub, commit: str, patience: Patience, tls: ssl.SSLContext) -> None:
        self._hub = hub
        self._commit = commit
        self._patience = patience
        self._origin = origin(hub.endpoint)
        self._managers: dict[str | None, PoolManager] = {}
        self._tls = tls

    def stream(self, file: HubFile, start: int, end: int, location: str | None) -> Iterator[str | bytes]:
        """First where the bytes come from, then the bytes from `start` to `end`. May end early.

        Raises `Trouble`, `NoRanges`, `WrongLength`, or `Failed` for what won't pass.
        """
        address = location or self._address(file)
        headers = {} if (start, end) == (0, file.size) else {"Range": f"bytes={start}-{end - 1}"}
        try:
            address, response = self._open(address, headers)
            try:
                self._check(response, file, start, address)
                yield address
                yield from self._body(response, end - start)
            finally:
                _put_back(response)
        except urllib3.exceptions.HTTPError as error:
            host = urlsplit(address).netloc
            raise Trouble(Reason.UNAVAILABLE, f"The connection to {host} failed ({type(error).__name__}).") from error

    def _address(self, file: HubFile) -> str:
        return f"{self._hub.endpoint}/{self._hub.name}/resolve/{self._commit}/{quote(file.path)}"

    def _open(self, address: str, headers: Mapping[str, str]) -> tuple[str, BaseHTTPResponse]:
        for _ in range(_HOPS):
            own = dict(headers) | {"Accept-Encoding": "identity", "User-Agent": "modeldepot"}
            if self._hub.token and origin(address) == self._origin:
                own["Authorization"] = f"Bearer {self._hub.token}"
            response = self._manager(address).request(
                "GET",
                address,
                headers=own,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=10.0, read=min(15.0, self._patience.window)),
            )
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return address, response
            for _ in self._body(response, _BLOCK):
                pass
            _put_back(response)
            address = urljoin(address, target)
        raise Trouble(Reason.UNAVAILABLE, "The Hub's redirects lead in a circle.", relocate=True)

    def _check(self, response: BaseHTTPResponse, file: HubFile, start: int, address: str) -> None:
        """Raises unless the response carries the file's bytes from `start`."""
        status = response.status
        if status == 206:
            unit, _, total = response.headers.get("Content-Range", "").partition("/")
            if total not in {str(file.size), "*"}:
                raise WrongLength
            if not unit.startswith(f"bytes {start}-"):
                raise NoRanges
        elif status == 200:
            if int(response.headers.get("Content-Length") or file.size) != file.size:
                raise WrongLength
            if start:
                raise NoRanges
        elif status == 416:
            raise WrongLength
        else:
            self._refused(response, file, address)

    def _refused(self, response: BaseHTTPResponse, file: HubFile, address: str) -> None:
        status, after = response.status, retry_after(response.headers)
        who = "The Hub" if origin(address) == self._origin else "The Hub's CDN"
        if status == 429:
            raise Trouble(Reason.BUSY, RATE_LIMITED, after=after)
        if status == 407:
            raise Trouble(Reason.UNAVAILABLE, PROXY_REFUSES)
        if status == 408 or status >= 500:
            raise Trouble(Reason.UNAVAILABLE, f"{who} answered {status} to {file.path!r}.", after=after)
        if who != "The Hub" and status in {400, 401, 403, 404, 410}:
            raise Trouble(Reason.UNAVAILABLE, f"{who} no longer accepts its own link to {file.path!r}.", relocate=True)
        if status in {401, 403}:
            raise Failed(Reason.FORBIDDEN, f"The Hub refuses this caller the file {file.path!r}.")
        if status == 404:
            raise Failed(Reason.NOT_FOUND, f"The Hub lists the file {file.path!r} but does not have it.")
        raise Failed(Reason.UNKNOWN, f"{who} answered {status} to {file.path!r}.")

    def _body(self, response: BaseHTTPResponse, length: int) -> Iterator[bytes]:
        waited, got = 0.0, 0
        while length:
            # Only what the server takes counts: the disk and the limit on bandwidth are slow for their own reasons.
            asked = time.monotonic()
            data = response.read1(min(_BLOCK, length), decode_content=False)
            waited += time.monotonic() - asked
            if not data:
                return
            length -= len(data)
            got += len(data)
            yield data
            if waited >= self._patience.window:
                if got < self._patience.rate * waited:
                    raise Trouble(Reason.UNAVAILABLE, "The connection hardly sends anything.", relocate=True)
                waited, got = 0.0, 0

    def _manager(self, address: str) -> PoolManager:
        """The connections for an address: through the proxy that the environment names for it, if it names one."""
        proxy = proxy_for(address)
        if proxy not in self._managers:
            options: dict[str, Any] = {
                "maxsize": 32,
                "ssl_context": self._tls,
                "blocksize": _BLOCK,
                "socket_options": _socket_options(),
            }
            self._managers[proxy] = _through(proxy, options) if proxy else PoolManager(**options)
        return self._managers[proxy]


def _through(proxy: str, options: dict[str, Any]) -> ProxyManager:
    """Connections through a proxy, whose address may hold a name and a password."""
    address = parse_url(proxy)
    headers = make_headers(proxy_basic_auth=unquote(address.auth)) if address.auth else None
    return ProxyManager(address._replace(auth=None).url, proxy_headers=headers, **options)


def _socket_options() -> list[tuple[int, int, int]]:
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    if sys.platform == "linux":  # SO_RCVBUF would be capped far below this, and slow a distant server down.
        options.append((socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _WINDOW))
    return options


def _put_back(response: BaseHTTPResponse) -> None:
    """Keep the connection if all of the body was read, else close it."""
    if response.closed or getattr(response, "length_remaining", None) == 0:
        response.drain_conn()  # An empty body must be read, too: its connection is not free before.
        response.release_conn()
    else:
        response.close()
