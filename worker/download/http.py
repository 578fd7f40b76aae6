"""Fetches byte ranges of a Hub's files over HTTP with libcurl: many transfers in one thread.

The Hub redirects large files to a CDN, with signed links that expire. The token is sent to the Hub's own origin only.
libcurl appends a transfer's bytes to a list, so that no Python code runs for each 16 KiB of TLS.
"""

import time
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote, urljoin

import pycurl

from app.domain.errors import Failed, Reason
from worker.download.addresses import origin
from worker.download.answers import NoRanges, Trouble, WrongLength, check
from worker.download.client import Guard
from worker.download.hub import Hub
from worker.download.line import Line
from worker.download.listing import HubFile
from worker.download.proxies import proxy_for
from worker.download.trust import Authorities

_HOPS = 5
_QUIET = 15.0
"""Seconds without a byte after which a connection counts as stalled, even if `Patience` allows more."""
_ANSWER = 1 << 18
"""Bytes of a redirect's body that are read, so that the connection can be reused."""
_NO_SOCKET = 0.002
"""Seconds to sleep while there is no socket to wait for, for example during a name lookup."""


@dataclass(frozen=True, slots=True)
class Patience:
    """A connection counts as stalled below `rate` bytes per second over `window` seconds."""

    window: float
    rate: float


class Transfer(Protocol):
    """A request for bytes `start` to `end` of a file. `location`: the CDN's signed link, once it is known."""

    @property
    def file(self) -> HubFile: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...

    location: str | None

    def receive(self, chunks: list[bytes]) -> bool:
        """Take the next bytes, in order; return False when no more is wanted."""


T = TypeVar("T", bound=Transfer)


class Wire(Generic[T]):
    """Persistent connections to the Hub and its CDN. For one thread."""

    def __init__(self, hub: Hub, commit: str, patience: Patience, authorities: Authorities, guard: Guard) -> None:
        self._hub = hub
        self._commit = commit
        self._patience = patience
        self._authorities = authorities
        self._origin = origin(hub.endpoint)
        self._guard = guard
        self._multi = pycurl.CurlMulti()
        self._busy: dict[pycurl.Curl, tuple[Line, T]] = {}
        self._idle: list[Line] = []
        self._clock = 0.0
        """Seconds spent on the network: time for the disk and the bandwidth limit must not count as a stall."""

    def begin(self, transfer: T) -> None:
        line = self._idle.pop() if self._idle else Line(self._authorities)
        line.hops = 0
        address = f"{self._hub.endpoint}/{self._hub.name}/resolve/{self._commit}/{quote(transfer.file.path)}"
        self._ask(line, transfer, transfer.location or address)

    def turn(self, seconds: float) -> list[tuple[T, Exception | None]]:
        """Pass on what arrives within at most `seconds`; return the transfers that ended, each with its error.

        That is `Trouble`, `NoRanges`, `WrongLength`, `Failed`, or `None`: all arrived, or the connection ended early.
        """
        self._work(seconds)
        _, good, bad = self._multi.info_read()
        finished = dict.fromkeys(good, None) | {curl: (code, text) for curl, code, text in bad}
        ended: list[tuple[T, Exception | None]] = []
        for curl, (line, transfer) in list(self._busy.items()):
            try:
                over = self._hand_over(line, transfer)
                if curl in finished and not over:
                    over = self._finish(line, transfer, finished[curl])
                elif not over:
                    self._watch(line)
                error = None
            except (Trouble, NoRanges, WrongLength, Failed) as failure:
                over, error = True, failure
            if over:
                self._release(line)
                ended.append((transfer, error))
        return ended

    def close(self) -> None:
        for line, _ in list(self._busy.values()):
            self._release(line)

    def _work(self, seconds: float) -> None:
        began = time.monotonic()
        due = self._multi.timeout()
        if due and self._multi.select(min(seconds, due / 1000) if due > 0 else seconds) <= 0:
            time.sleep(_NO_SOCKET if self._busy else seconds)
        self._multi.perform()
        self._clock += time.monotonic() - began

    def _ask(self, line: Line, transfer: T, address: str) -> None:
        headers = ["User-Agent: modeldepot"]
        if (transfer.start, transfer.end) != (0, transfer.file.size):
            headers.append(f"Range: bytes={transfer.start}-{transfer.end - 1}")
        if self._hub.token and origin(address) == self._origin:
            headers.append(f"Authorization: Bearer {self._hub.token}")
        proxy = proxy_for(address)
        self._guard.check(address, proxy or "")  # a name's address is checked at connect time
        # A proxy's own address may be inside.
        guarded = proxy is None and self._guard.minds(address)
        # As in the API's client, a SOCKS proxy resolves the names.
        proxy = proxy.replace("socks5://", "socks5h://") if proxy else None
        line.prepare(address, headers, transfer.end - transfer.start, proxy, guarded=guarded)
        line.count(self._clock)
        self._busy[line.curl] = line, transfer
        self._multi.add_handle(line.curl)

    def _hand_over(self, line: Line, transfer: T) -> bool:
        """Pass the arrived bytes to the transfer; return whether it wants no more."""
        if not line.chunks:
            return False
        chunks = line.chunks.copy()
        line.chunks.clear()
        line.heard = self._clock
        line.got += sum(map(len, chunks))
        if line.target:
            return line.got > _ANSWER and self._follow(line, transfer)
        self._check(line, transfer)
        return not transfer.receive(chunks)

    def _watch(self, line: Line) -> None:
        """Raise `Trouble` if the connection is stalled."""
        passed = self._clock - line.since
        if self._clock - line.heard >= min(_QUIET, self._patience.window):
            raise Trouble(Reason.UNAVAILABLE, "The connection sends nothing.", relocate=True)
        if passed >= self._patience.window:
            if line.got < self._patience.rate * passed:
                raise Trouble(Reason.UNAVAILABLE, "The connection hardly sends anything.", relocate=True)
            heard = line.heard
            line.count(self._clock)
            line.heard = heard

    def _finish(self, line: Line, transfer: T, failure: tuple[int, str] | None) -> bool:
        """Handle the end of a request; return whether its transfer ended, too (not after a redirect)."""
        if line.target:
            return self._follow(line, transfer)
        if line.status:
            self._check(line, transfer)
        if failure:
            raise line.broken(*failure)
        return True

    def _follow(self, line: Line, transfer: T) -> bool:
        line.hops += 1
        if line.hops >= _HOPS:
            raise Trouble(Reason.UNAVAILABLE, "The Hub's redirects lead in a circle.", relocate=True)
        address = urljoin(line.address, line.target)
        del self._busy[line.curl]
        self._multi.remove_handle(line.curl)
        self._ask(line, transfer, address)
        return False

    def _check(self, line: Line, transfer: T) -> None:
        if not line.accepted:
            at_hub = origin(line.address) == self._origin
            check(line.status, line.headers, transfer.file, transfer.start, line.length, at_hub=at_hub)
            line.accepted = True
            if line.hops:
                transfer.location = line.address

    def _release(self, line: Line) -> None:
        """Keep the connection if the whole answer was read, else close it."""
        if self._busy.pop(line.curl, None):
            self._multi.remove_handle(line.curl)
        self._idle.append(line)
