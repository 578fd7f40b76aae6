"""Fetches byte ranges of a Hub's files over HTTP with libcurl: many transfers in one thread.

The Hub redirects large files to a CDN, with signed links that expire. The token is sent to the Hub's own origin only.
libcurl appends a transfer's bytes to a list, so that no Python code runs for each 16 KiB of TLS.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
from worker.download.stalls import StallLimit, StallWatch
from worker.download.trust import Authorities

_HOPS = 5
_ANSWER = 1 << 18
"""Bytes of a redirect's body that are read, so that the connection can be reused."""
_NO_SOCKET = 0.002
"""Seconds to sleep while there is no socket to wait for, for example during a name lookup."""


class Transfer(Protocol):
    """A request for bytes `start` to `end` of a file, at `location`, the CDN's signed link, once it is known."""

    @property
    def file(self) -> HubFile: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def location(self) -> str | None: ...


T = TypeVar("T", bound=Transfer)


@dataclass(frozen=True, slots=True)
class Response(Generic[T]):
    """What arrived for a transfer since its last response: `chunks`, in order."""

    transfer: T
    location: str | None
    """The link that the Hub redirected to."""
    chunks: list[bytes]
    is_over: bool
    """Whether the answer has ended: completely, early, or with `error`."""
    error: Exception | None = None
    """What went wrong after these bytes: `Trouble`, `NoRanges`, `WrongLength` or `Failed`."""


@dataclass(slots=True)
class _Exchange(Generic[T]):
    """A transfer's running request."""

    line: Line
    transfer: T
    watch: StallWatch
    hops: int
    is_accepted: bool = field(default=False, init=False)

    @property
    def location(self) -> str | None:
        return self.line.address if self.hops else None

    def take(self, moment: float) -> list[bytes]:
        """Return the bytes that arrived."""
        chunks = self.line.take()
        if chunks:
            self.watch.add(sum(map(len, chunks)), moment)
        return chunks

    def check(self, *, at_hub: bool, anonymous: bool) -> None:
        """Raise unless the answer carries the requested bytes."""
        if not self.is_accepted:
            line, transfer = self.line, self.transfer
            status, headers, length = line.status, line.headers, line.length
            check(status, headers, transfer.file, transfer.start, length, at_hub=at_hub, anonymous=anonymous)
            self.is_accepted = True


class Wire(Generic[T]):
    """Persistent connections to the Hub and its CDN. For one thread."""

    def __init__(self, hub: Hub, commit: str, stall: StallLimit, authorities: Authorities, guard: Guard) -> None:
        self._hub = hub
        self._commit = commit
        self._stall = stall
        self._authorities = authorities
        self._origin = origin(hub.endpoint)
        self._guard = guard
        self._multi = pycurl.CurlMulti()
        self._busy: dict[T, _Exchange[T]] = {}
        self._idle: list[Line] = []
        self._clock = 0.0
        """Seconds spent on the network: time for the disk and the bandwidth limit must not count as a stall."""

    def begin(self, transfer: T) -> None:
        line = self._idle.pop() if self._idle else Line(self._authorities)
        address = f"{self._hub.endpoint}/{self._hub.name}/resolve/{self._commit}/{quote(transfer.file.path)}"
        self._ask(line, transfer, transfer.location or address, hops=0)

    def turn(self, seconds: float) -> Iterator[Response[T]]:
        """Yield what arrives within at most `seconds`, and the ends of answers."""
        self._work(seconds)
        _, good, bad = self._multi.info_read()
        finished = dict.fromkeys(good, None) | {curl: (code, text) for curl, code, text in bad}
        for exchange in list(self._busy.values()):
            if response := self._respond(exchange, finished):
                if response.is_over:
                    self.stop(exchange.transfer)
                yield response

    def stop(self, transfer: T) -> None:
        """End a transfer. Its connection is kept if the whole answer was read, else closed."""
        if exchange := self._busy.pop(transfer, None):
            self._multi.remove_handle(exchange.line.curl)
            self._idle.append(exchange.line)

    def close(self) -> None:
        for transfer in list(self._busy):
            self.stop(transfer)

    def _work(self, seconds: float) -> None:
        began = time.monotonic()
        due = self._multi.timeout()
        if due and self._multi.select(min(seconds, due / 1000) if due > 0 else seconds) <= 0:
            time.sleep(_NO_SOCKET if self._busy else seconds)
        self._multi.perform()
        self._clock += time.monotonic() - began

    def _ask(self, line: Line, transfer: T, address: str, *, hops: int) -> None:
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
        self._busy[transfer] = _Exchange(line, transfer, StallWatch(self._stall, self._clock), hops)
        self._multi.add_handle(line.curl)

    def _respond(
        self, exchange: _Exchange[T], finished: Mapping[pycurl.Curl, tuple[int, str] | None]
    ) -> Response[T] | None:
        """Return what is new of a request, or `None`."""
        line, transfer = exchange.line, exchange.transfer
        is_over, chunks = line.curl in finished, exchange.take(self._clock)
        error: Exception | None = None
        if chunks or is_over:
            try:
                if line.target:
                    if is_over or exchange.watch.count > _ANSWER:
                        self._follow(exchange)
                    return None
                if chunks or line.status:
                    at_hub = origin(line.address) == self._origin
                    exchange.check(at_hub=at_hub, anonymous=not self._hub.token)
            except (Trouble, NoRanges, WrongLength, Failed) as failure:
                return Response(transfer, None, [], is_over=True, error=failure)
        if failed := finished.get(line.curl):
            error = line.broken(*failed)
        elif not is_over and (stalled := exchange.watch.look(self._clock)):
            error = Trouble(Reason.UNAVAILABLE, stalled, relocate=True)
        if not chunks and not is_over and not error:
            return None
        return Response(transfer, exchange.location, chunks, is_over=is_over or error is not None, error=error)

    def _follow(self, exchange: _Exchange[T]) -> None:
        """Send the request again, to the target of a redirect."""
        line, hops = exchange.line, exchange.hops + 1
        if hops >= _HOPS:
            raise Trouble(Reason.UNAVAILABLE, "The Hub's redirects lead in a circle.", relocate=True)
        address = urljoin(line.address, line.target)
        self._multi.remove_handle(line.curl)
        del self._busy[exchange.transfer]
        self._ask(line, exchange.transfer, address, hops=hops)
