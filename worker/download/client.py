"""Sets up huggingface_hub's HTTP client, for every call to the Hub's API.

All calls share: time limits, proxies, the token for the Hub's own origin only, no requests to inside addresses.
Addresses in answers are rewritten to the Hub's own origin: huggingface_hub follows them with the headers of the first
request, and hf_xet, which has its own client, uses them with the token.
"""

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Lock
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import hf_request_event_hook

from app.domain.errors import Failed, Reason
from worker.download.addresses import is_inside, leads_inside, origin
from worker.download.proxies import proxy_for
from worker.download.stalls import StallLimit

TIMEOUT = 15.0
"""Seconds without a byte after which a call to the Hub's API is aborted."""
_CREDENTIALS = ("authorization", "cookie")
_FOLLOWED = ("next", "xet-auth")
"""The links of an answer that are followed: to the next page, and to the issuer of tokens for the content store."""
_XET_ROUTE, _XET_STORE = "x-xet-refresh-route", "x-xet-cas-url"


def make_client(endpoint: str, stall: StallLimit, tls: ssl.SSLContext, guard: "Guard") -> None:
    """Make huggingface_hub create its clients with these settings.

    A call is also aborted after `stall.window` seconds without a byte, or `TIMEOUT` if that is shorter. A hook sets
    every request's timeout: several of its helpers pass `timeout=None`, which overrides a client's default.
    """
    stall = replace(stall, window=min(stall.window, TIMEOUT))
    home = origin(endpoint)

    def prepare(request: httpx2.Request) -> None:
        asked = request.extensions.get("timeout") or {}
        most = {"connect": 10.0, "read": stall.window, "write": stall.window, "pool": 60.0}
        request.extensions["timeout"] = {
            kind: min(asked.get(kind) or longest, longest) for kind, longest in most.items()
        }
        # A redirect is followed with the headers of the first request.
        if origin(str(request.url)) != home:
            for name in _CREDENTIALS:
                request.headers.pop(name, None)

    def watch(response: httpx2.Response) -> None:
        _anchor(response, endpoint)
        guard.check_store(response.headers.get(_XET_STORE))
        if isinstance(response.stream, httpx2.SyncByteStream):
            response.stream = _Watched(response.stream, stall)

    set_client_factory(
        lambda: httpx2.Client(
            event_hooks={"request": [hf_request_event_hook, prepare], "response": [watch]},
            follow_redirects=True,
            timeout=TIMEOUT,
            transport=_Transport(tls, guard),
            trust_env=False,
        )
    )


def at_endpoint(endpoint: str, page: str, link: str) -> str:
    """Return the target of `link` on `page` as a URL at the endpoint, whatever origin it names.

    A mirror passes on links of its upstream hub, which has another origin and no path prefix.
    """
    target, prefix = urlsplit(urljoin(page, link)), urlsplit(endpoint).path.rstrip("/")
    path = target.path if target.path.startswith(f"{prefix}/") else prefix + target.path
    return urlsplit(endpoint)._replace(path=path, query=target.query).geturl()


def _anchor(response: httpx2.Response, endpoint: str) -> None:
    """Rewrite the addresses in an answer that are followed to the endpoint."""
    page, links = str(response.url), response.links
    if route := response.headers.get(_XET_ROUTE):
        response.headers[_XET_ROUTE] = at_endpoint(endpoint, page, route)
    if found := [(rel, links[rel]["url"]) for rel in _FOLLOWED if rel in links]:
        response.headers["link"] = ", ".join(f'<{at_endpoint(endpoint, page, url)}>; rel="{rel}"' for rel, url in found)


class Guard:
    """Refuses requests that a Hub directs inside, unless the Hub is inside itself or the operator allows it."""

    def __init__(self, endpoint: str, *, redirects_inside: bool) -> None:
        self._home = origin(endpoint)
        self._is_open = redirects_inside or leads_inside(self._home[1] or "")

    def minds(self, url: str) -> bool:
        return not self._is_open and origin(url) != self._home

    def check(self, url: str, proxy: str | None) -> None:
        """Raise `Failed` for an inside address. Names that a proxy resolves are not resolved here."""
        if not self.minds(url):
            return
        host = urlsplit(url).hostname or ""
        if leads_inside(host) if proxy is None else host == "localhost" or is_inside(host):
            raise refused_inside(host)

    def check_store(self, url: str | None) -> None:
        """Raise `Failed` if the content store, which hf_xet connects to by itself, is inside."""
        if url:
            self.check(url, proxy_for(url))

    def watch(self, url: str) -> dict[str, Any]:
        """Return the request extension that checks the connection's address before anything is sent.

        A name may resolve to another address at connect time than in the check a moment before.
        """

        def connected(event: str, told: dict[str, Any]) -> None:
            if event != "connection.connect_tcp.complete":
                return
            stream = told["return_value"]
            peer = stream.get_extra_info("server_addr")
            if peer and is_inside(str(peer[0])):
                stream.close()
                raise refused_inside(urlsplit(url).hostname or "")

        return {"trace": connected}


def refused_inside(host: str) -> Failed:
    message = (
        f"The Hub leads to {host[:100]!a}, an address of the worker's own machine or cloud, which is not followed. "
        "If the Hub's files are there on purpose, set DEPOT_HUB_REDIRECTS_INSIDE=true for the workers, then retry."
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
        if proxy is None and self._guard.minds(url):
            request.extensions |= self._guard.watch(url)
        return self._through(proxy).handle_request(request)

    def close(self) -> None:
        for transport in self._by_proxy.values():
            transport.close()

    def _through(self, proxy: str | None) -> httpx2.HTTPTransport:
        with self._lock:
            if proxy not in self._by_proxy:
                tls = self._tls if proxy and proxy.startswith("https://") else None
                by = httpx2.Proxy(proxy, ssl_context=tls) if proxy else None
                self._by_proxy[proxy] = httpx2.HTTPTransport(verify=self._tls, trust_env=False, proxy=by)
            return self._by_proxy[proxy]


class _Watched(httpx2.SyncByteStream):
    """An answer's body; raises `ReadTimeout` if it is too slow overall, even if each byte is in time."""

    def __init__(self, stream: httpx2.SyncByteStream, stall: StallLimit) -> None:
        self._stream, self._stall = stream, stall

    def __iter__(self) -> Iterator[bytes]:
        began, got = time.monotonic(), 0
        for data in self._stream:
            yield data
            got += len(data)
            if self._stall.is_reached(got, time.monotonic() - began):
                raise httpx2.ReadTimeout("the answer hardly comes")

    def close(self) -> None:
        self._stream.close()
