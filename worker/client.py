"""The HTTP client of huggingface_hub as this worker uses it, for every call to the Hub's API.

What holds for all of them stands here: time limits, proxies, the token for the Hub's own origin only, no way inside.
"""

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import hf_request_event_hook

from app.domain.errors import Failed, Reason
from worker.addresses import is_inside, leads_inside, origin
from worker.proxies import proxy_for

TIMEOUT = 15.0
"""Seconds without a byte after which a call to the Hub's API is given up."""
_CREDENTIALS = ("authorization", "cookie")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a call to the Hub's API is given up: after `window` seconds without a byte, or with less than `rate` a second."""

    window: float
    rate: float


def make_client(endpoint: str, limits: Limits, tls: ssl.SSLContext, *, redirects_inside: bool) -> None:
    """Have huggingface_hub make its clients so.

    Every request is timed out by a hook: several of its helpers pass `timeout=None`, which overrules a client's default.
    """
    limits = Limits(min(limits.window, TIMEOUT), limits.rate)
    home = origin(endpoint)

    def prepare(request: httpx2.Request) -> None:
        asked = request.extensions.get("timeout") or {}
        most = {"connect": 10.0, "read": limits.window, "write": limits.window, "pool": 60.0}
        request.extensions["timeout"] = {
            kind: min(asked.get(kind) or longest, longest) for kind, longest in most.items()
        }
        # Redirects, links to the next page and Xet's refresh route name addresses, and huggingface_hub follows them
        # with the headers of the first request.
        if origin(str(request.url)) != home:
            for name in _CREDENTIALS:
                request.headers.pop(name, None)

    def watch(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Watched(response.stream, limits)

    guard = Guard(endpoint, redirects_inside=redirects_inside)
    set_client_factory(
        lambda: httpx2.Client(
            event_hooks={"request": [hf_request_event_hook, prepare], "response": [watch]},
            follow_redirects=True,
            timeout=TIMEOUT,
            transport=_Transport(tls, guard),
            trust_env=False,
        )
    )


class Guard:
    """Refuses requests that a Hub sends inside, unless the Hub is inside itself or the operator allows it."""

    def __init__(self, endpoint: str, *, redirects_inside: bool) -> None:
        self._home = origin(endpoint)
        self.is_open = redirects_inside or leads_inside(self._home[1] or "")

    def check(self, url: str, proxy: str | None) -> None:
        """Raises `Failed`. What a proxy resolves is the proxy's to judge."""
        host = urlsplit(url).hostname or ""
        if self.is_open or origin(url) == self._home:
            return
        if leads_inside(host) if proxy is None else host == "localhost" or is_inside(host):
            raise refused_inside(host)


def refused_inside(host: str) -> Failed:
    message = (
        f"The Hub redirects to {host[:100]!a}, an address of the worker's own machine or cloud, which is not followed. "
        "If the Hub's files are there on purpose, set DEPOT_HUB_REDIRECTS_INSIDE=true for the workers and send the "
        "request again."
    )
    return Failed(Reason.UNAVAILABLE, message)


class _Transport(httpx2.BaseTransport):
    """Sends each request through the proxy that the environment names for its address, or directly."""

    def __init__(self, tls: ssl.SSLContext, guard: Guard) -> None:
        self._tls, self._guard = tls, guard
        self._lock = Lock()
        self._by_proxy: dict[str | None, httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        proxy = proxy_for(url)
        self._guard.check(url, proxy)
        response = self._through(proxy).handle_request(request)
        if proxy is None and not self._guard.is_open:
            self._check_peer(request, response)
        return response

    def close(self) -> None:
        for transport in self._by_proxy.values():
            transport.close()

    def _through(self, proxy: str | None) -> httpx2.HTTPTransport:
        with self._lock:
            if proxy not in self._by_proxy:
                self._by_proxy[proxy] = httpx2.HTTPTransport(verify=self._tls, trust_env=False, proxy=proxy)
            return self._by_proxy[proxy]

    def _check_peer(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """A name may resolve to another address when it is connected to than when it was looked at."""
        peer = response.extensions["network_stream"].get_extra_info("server_addr")
        if peer and is_inside(peer[0]):
            response.close()
            raise refused_inside(request.url.host)


class _Watched(httpx2.SyncByteStream):
    """An answer's body, unless it comes too slowly: each byte in time is not enough."""

    def __init__(self, stream: httpx2.SyncByteStream, limits: Limits) -> None:
        self._stream, self._limits = stream, limits

    def __iter__(self) -> Iterator[bytes]:
        began, got = time.monotonic(), 0
        for data in self._stream:
            yield data
            got += len(data)
            passed = time.monotonic() - began
            if passed >= self._limits.window and got < self._limits.rate * passed:
                raise httpx2.ReadTimeout("the answer hardly comes")

    def close(self) -> None:
        self._stream.close()
