"""One libcurl handle: a connection, its request, and what has arrived so far."""

import socket
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pycurl

from app.domain.errors import Failed, Reason
from worker.download.addresses import is_inside
from worker.download.answers import Trouble
from worker.download.client import refused_inside
from worker.download.refusals import PROXY_REFUSES
from worker.download.trust import Authorities

_CONNECT = 10.0
_BUFFER = 1 << 19
_WINDOW = 4 << 20
"""Bytes that a connection may have in flight: those in the kernel's buffers are lost if the process is killed."""
_REDIRECTS = {301, 302, 303, 307, 308}


class Line:
    """A reusable handle: one request at a time, on a connection that outlives it."""

    def __init__(self, authorities: Authorities) -> None:
        self._chunks: list[bytes] = []
        self._head: list[bytes] = []
        self._answer: dict[str, str] | None = None
        self._guarded = False
        self._refused = ""
        self.curl = curl = pycurl.Curl()
        authorities.trust(curl)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        # One connection per range: many ranges on one HTTP/2 connection are only as fast as one. HTTP/2 is faster for
        # small files only with more requests at once than a Hub with a rate limit accepts: 2000 files at 30 ms, 16 at
        # once, took 4.9 s over HTTP/1.1 and 5.6 s over HTTP/2; 100 at once 1.0 s.
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(_CONNECT * 1000))
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER)
        # An answer that is compressed nevertheless is decoded.
        curl.setopt(pycurl.ACCEPT_ENCODING, "identity")
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        # Built-in list methods, not Python functions: they are called for every 16 KiB.
        curl.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        curl.setopt(pycurl.HEADERFUNCTION, self._head.append)

    def prepare(self, address: str, headers: Sequence[str], length: int, proxy: str | None, *, guarded: bool) -> None:
        """Prepare a request for `length` bytes. `guarded`: refuse an inside address."""
        self.address, self.length = address, length
        self._refused = ""
        self._guarded = guarded
        self._answer = None
        self._chunks.clear()
        self._head.clear()
        self.curl.setopt(pycurl.URL, address.encode())
        self.curl.setopt(pycurl.HTTPHEADER, headers)
        self.curl.setopt(pycurl.PROXY, proxy or "")

    def take(self) -> list[bytes]:
        """Return what has arrived since the last call."""
        chunks = self._chunks.copy()
        self._chunks.clear()
        return chunks

    @property
    def status(self) -> int:
        """0 before there is an answer."""
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the last answer; interim answers and a proxy's may precede it."""
        if self._answer is None:
            lines = [line.decode("utf-8", "replace").strip() for line in self._head]
            begin = max((number for number, line in enumerate(lines) if line.startswith("HTTP/")), default=0)
            pairs = (line.partition(":") for line in lines[begin + 1 :] if line)
            self._answer = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return self._answer

    @property
    def target(self) -> str | None:
        """The target of a redirect."""
        return self.headers.get("location") if self.status in _REDIRECTS else None

    def broken(self, code: int, text: str) -> Trouble | Failed:
        """Return the error for libcurl's failure."""
        if self._refused:
            return refused_inside(self._refused)
        if self.curl.getinfo(pycurl.HTTP_CONNECTCODE) == 407:
            return Trouble(Reason.UNAVAILABLE, PROXY_REFUSES)
        if code == pycurl.E_COULDNT_RESOLVE_PROXY:  # its text may contain the proxy's password
            text = "the proxy's name can't be resolved"
        host = urlsplit(self.address).netloc
        message = f"The connection to {host} failed ({text or f'code {code}'})."
        return Trouble(Reason.UNAVAILABLE, message, crowded=not self.status)

    def _open(self, _purpose: int, address: Any) -> socket.socket | int:
        if self._guarded and is_inside(str(address.addr[0])):
            self._refused = str(address.addr[0])
            return int(pycurl.SOCKET_BAD)
        line = socket.socket(address.family, address.socktype, address.protocol)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":  # SO_RCVBUF is capped far below this, which would slow a distant server down.
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _WINDOW)
        return line
