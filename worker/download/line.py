"""One of libcurl's handles: a connection, the request on it, and what came of it so far."""

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
"""Bytes that a connection may have under way: what the kernel holds is lost, too, when the process is killed."""
_REDIRECTS = {301, 302, 303, 307, 308}


class Line:
    """`heard` and `since` are when bytes came last and from when `got` of them are counted."""

    def __init__(self, authorities: Authorities) -> None:
        self.chunks: list[bytes] = []
        self._head: list[bytes] = []
        self._answer: dict[str, str] | None = None
        self._guarded = False
        self._refused = ""
        self.hops = 0
        self.curl = curl = pycurl.Curl()
        authorities.trust(curl)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        # One connection for each range: many on one, as HTTP/2 has it, are as fast as one. Small files would come
        # faster over it only if many more were asked for at once than a Hub that counts requests takes: 2000 at 30 ms,
        # 16 at once, took 4.9 s over HTTP/1.1 and 5.6 s over HTTP/2; 100 at once 1.0 s.
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(_CONNECT * 1000))
        curl.setopt(pycurl.BUFFERSIZE, _BUFFER)
        # What comes compressed all the same is decoded.
        curl.setopt(pycurl.ACCEPT_ENCODING, "identity")
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        # Functions of lists, not of Python: they are called for every 16 KiB.
        curl.setopt(pycurl.WRITEFUNCTION, self.chunks.append)
        curl.setopt(pycurl.HEADERFUNCTION, self._head.append)

    def prepare(self, address: str, headers: Sequence[str], length: int, proxy: str | None, *, guarded: bool) -> None:
        """Make ready to ask for `length` bytes. `guarded`: not of an address that is inside."""
        self.address, self.length = address, length
        self.accepted = False
        self.got, self._refused = 0, ""
        self._guarded = guarded
        self._answer = None
        self.chunks.clear()
        self._head.clear()
        self.curl.setopt(pycurl.URL, address.encode())
        self.curl.setopt(pycurl.HTTPHEADER, headers)
        self.curl.setopt(pycurl.PROXY, proxy or "")

    def count(self, moment: float) -> None:
        """Count bytes from now on."""
        self.since = self.heard = moment
        self.got = 0

    @property
    def status(self) -> int:
        """0 before it answers."""
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE))

    @property
    def headers(self) -> dict[str, str]:
        """Of the last answer, which interim ones and a proxy's may come before."""
        if self._answer is None:
            lines = [line.decode("utf-8", "replace").strip() for line in self._head]
            begin = max((number for number, line in enumerate(lines) if line.startswith("HTTP/")), default=0)
            pairs = (line.partition(":") for line in lines[begin + 1 :] if line)
            self._answer = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return self._answer

    @property
    def target(self) -> str | None:
        """Where a redirect leads."""
        return self.headers.get("location") if self.status in _REDIRECTS else None

    def broken(self, code: int, text: str) -> Trouble | Failed:
        """What libcurl's failure means."""
        if self._refused:
            return refused_inside(self._refused)
        if self.curl.getinfo(pycurl.HTTP_CONNECTCODE) == 407:
            return Trouble(Reason.UNAVAILABLE, PROXY_REFUSES)
        if code == pycurl.E_COULDNT_RESOLVE_PROXY:  # whose text may hold its password
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
        if sys.platform == "linux":  # SO_RCVBUF would be capped far below this, and slow a distant server down.
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, _WINDOW)
        return line
