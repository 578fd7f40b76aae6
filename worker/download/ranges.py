"""Fetches files over HTTP in ranges, over several connections; resumes the last attempt; hashes while it fetches.

huggingface_hub 2.x starts every file again after a kill, verifies no content, uses one connection per file and can't be
stopped. Here large files are fetched in pieces over several connections, in order, so that one hasher can follow. One
thread serves all connections; a refused request waits while others make progress. Where the Hub offers Xet, separate
threads fetch pieces over it, too.

One process per model: the connections' thread takes 1.1 s of CPU per GiB over TLS, which limits a download to about 8
Gbit/s. Several processes would be faster with spare cores, but concurrent models have a process each already, and a
file's hasher is the next bottleneck (0.8 s per GiB).
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from app.domain.errors import Reason, TryAgain
from app.storage.base import Arrival
from worker.download.answers import NoRanges, Trouble, WrongLength
from worker.download.checksums import Checksum
from worker.download.connections import Connections
from worker.download.http import Wire
from worker.download.listing import HubFile
from worker.download.partial import Part
from worker.download.pieces import STEP
from worker.download.saver import Keep, Saver
from worker.download.streams import Streams
from worker.download.transfers import OfPart, Sink, Transfer, Whole
from worker.download.ways import Ways
from worker.download.xet import Store

SMALL = 1 << 20
"""Files up to this many bytes are fetched whole, in memory, many at a time."""
_SMALL_AT_ONCE = 16
_HASHERS = 2
_BLOCK = 1 << 20
_TURN = 0.1
"""Seconds between checks for other work."""
_SECONDS = 3.0
"""Seconds that one request should take at the connection's rate: long compared to its round trip."""
_PIECE = 2 * STEP, 8 * STEP
"""Shortest and longest piece in bytes: short enough to be hashed in order."""
_WORTH_DIVIDING = 0.3
"""Seconds that a connection must still need before another one takes over half of its piece."""
_TROUBLES = 5
"""Failures in a row of a request, without progress between them, that end the attempt."""
_PROGRESS = 1 << 20
_OTHERS_PROGRESS = 1 << 16
"""Bytes that count as progress: when no other request runs, and while others run."""
_LONGEST_WAIT = 30.0
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """The number of `connections` for large files; `backoff`: seconds to wait after the first failure.

    `window`: seconds after which Xet counts as stalled.
    """

    connections: int
    backoff: float
    window: float


class Writer:
    """Fetches files into a tree, once."""

    def __init__(
        self,
        wire: Wire[Transfer],
        store: Store,
        ways: Ways,
        arrival: Arrival,
        sink: Sink,
        pace: Pace,
        *,
        keep: Keep,
    ) -> None:
        self._wire, self._store, self._ways = wire, store, ways
        self._arrival = arrival
        self._sink, self._meter = sink, sink.meter
        self._pace = pace
        self._keep = keep
        self._stopped = threading.Event()
        self._wrong: set[HubFile] = set()
        self._parts: deque[Part] = deque()
        self._both: list[Part] = []
        """Parts that can be fetched over Xet, too."""
        self._small: deque[HubFile] = deque()
        self._running: set[Transfer] = set()
        self._waiting: list[Transfer] = []
        self._saver = Saver(arrival, keep, self._refuse)
        self._connecting = ThreadPoolExecutor(1, thread_name_prefix="connections")
        self._hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")

    def fetch(self, parts: Sequence[Part], small: Sequence[HubFile]) -> list[HubFile]:
        """Fetch all; return the files that differ from the manifest, of which nothing is kept.

        Raises `TryAgain`, `Failed` or `OSError`; threads may then still run and write bytes that already arrived.
        """
        self._both = [part for part in parts if part.file.xet]
        self._parts.extend(part for part in parts if not part.file.xet)
        pace = self._pace
        self._streams = Streams(
            self._store, self._both, self._sink, self._ways, window=pace.window, most=pace.connections
        )
        self._most = (pace.connections if parts else 0) + min(_SMALL_AT_ONCE, len(small))
        self._small.extend(file for file in small if file.size)
        for file in small:
            if not file.size:
                self._saver.save(file, b"")
        running = {self._hashers.submit(self._hash, part) for part in parts}
        running.add(self._connecting.submit(self._transfer))
        try:
            for future in wait(running, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            self._stopped.set()
            self._streams.stop()
            self._end(wait=False)
        return list(self._wrong)

    def finish(self) -> None:
        """Wait, after a failure, until no thread moves a file to its place any more."""
        self._end(wait=True)

    def _end(self, *, wait: bool) -> None:
        for pool in (self._connecting, self._hashers):
            pool.shutdown(wait=wait, cancel_futures=True)
        self._saver.end(wait=wait)

    def _transfer(self) -> None:
        """Serve all connections until everything is fetched."""
        began = self._meter.fetched
        over_xet = self._ways.xet
        self._connections = Connections(self._most, time.monotonic())
        try:
            while not self._stopped.is_set():
                moment = time.monotonic()
                if self._both:
                    self._look(moment)
                    self._streams.turn(moment)
                if over_xet != self._ways.xet:
                    over_xet, began = self._ways.xet, self._meter.fetched
                    self._connections = Connections(self._most, moment)
                self._connections.look(moment, self._meter.fetched - began)
                while len(self._running) < self._connections.allowed and (transfer := self._next(moment)):
                    self._running.add(transfer)
                    self._wire.begin(transfer)
                if not self._running and not self._is_more(moment):
                    if self._saver.is_done(within=_TURN):
                        return
                    continue
                self._saver.is_done()
                for transfer, error in self._wire.turn(_TURN):
                    self._running.discard(transfer)
                    self._ended(transfer, error)
        finally:
            self._wire.close()

    def _look(self, moment: float) -> None:
        left = sum(part.file.size - part.counted for part in self._both)
        self._ways.look(moment, self._meter.fetched, left)

    def _is_more(self, moment: float) -> bool:
        """Whether work is left while no transfer runs. Raises `TryAgain` if the next retry is too far away."""
        if self._waiting:
            soonest = min(self._waiting, key=lambda transfer: transfer.tried.due)
            if soonest.tried.due - moment > _LONGEST_WAIT:
                raise _given_up(soonest)
        return bool(self._waiting or self._parts or self._small or not self._streams.is_over)

    def _next(self, moment: float) -> Transfer | None:
        """Return the next transfer: one that is due for a retry, a small file, or a piece of the largest file."""
        self._waiting = [transfer for transfer in self._waiting if not transfer.done]
        for transfer in self._waiting:
            if transfer.tried.due <= moment:
                self._waiting.remove(transfer)
                return transfer
        if self._waiting and not self._running and any(_crowded(transfer) for transfer in self._waiting):
            return None  # The server refuses all: more requests would not help.
        while self._parts and self._parts[0].is_taken:
            self._parts.popleft()
        wholes = sum(isinstance(transfer, Whole) for transfer in self._running)
        large = self._parts or (self._both and not self._ways.xet)
        share = max(1, self._connections.allowed // 2) if large else _SMALL_AT_ONCE
        if self._small and wholes < share and not self._saver.is_full:
            return Whole(self._small.popleft(), self._sink)
        if len(self._running) - wholes >= self._pace.connections:
            return None
        return self._piece(moment)

    def _piece(self, moment: float) -> OfPart | None:
        """Return a piece that is not being fetched or, at the end, half of another connection's remaining piece."""
        shortest, longest = _PIECE
        length = min(max(shortest, int(self._meter.rate / max(len(self._running), 1) * _SECONDS)), longest)
        parts = [*self._parts, *([] if self._ways.xet else self._both)]
        for part in parts:
            # Shorter towards the end, so that all connections finish at about the same time.
            if piece := part.take(min(length, max(shortest, part.free // self._pace.connections))):
                return OfPart(part, piece, self._sink, moment)
        if self._waiting or not all(part.is_taken for part in parts):
            return None
        pieces = [transfer for transfer in self._running if isinstance(transfer, OfPart)]
        last = max(pieces, key=lambda transfer: transfer.left(moment), default=None)
        piece = last.part.divide(last.piece) if last and last.left(moment) > _WORTH_DIVIDING else None
        return OfPart(last.part, piece, self._sink, moment) if last and piece else None

    def _ended(self, transfer: Transfer, error: Exception | None) -> None:
        if error is None and not transfer.done:
            error = Trouble(Reason.UNAVAILABLE, f"The connection ended in the middle of {transfer.file.path!r}.")
        match error:
            case None if isinstance(transfer, Whole):
                self._saver.save(transfer.file, transfer.data())
            case None:
                pass
            case WrongLength() if isinstance(transfer, OfPart):
                transfer.part.abandon()
            case WrongLength():
                self._wrong.add(transfer.file)
            case NoRanges() if isinstance(transfer, OfPart):
                self._without_ranges(transfer)
            case NoRanges():
                self._again(transfer, _no_ranges(transfer.file))
            case Trouble():
                self._again(transfer, error)
            case _:
                raise error

    def _without_ranges(self, transfer: OfPart) -> None:
        """Request once more; then fetch the whole file from its beginning over one connection."""
        transfer.tried.ignored += 1
        if transfer.alone:
            transfer.piece.start = 0
        elif transfer.tried.ignored > 1:
            piece = transfer.part.take_all()
            if piece is None:
                return
            transfer.piece, transfer.alone = piece, True
        self._again(transfer, _no_ranges(transfer.file))

    def _again(self, transfer: Transfer, trouble: Trouble) -> None:
        """Retry later, or raise `TryAgain` after `_TROUBLES` failures in a row without progress of any request."""
        tried, moment = transfer.tried, time.monotonic()
        came, tried.seen = self._meter.fetched - tried.seen, self._meter.fetched
        enough = _OTHERS_PROGRESS if self._running else _PROGRESS
        tried.failures += 1
        tried.troubles = 1 if came >= enough else tried.troubles + 1
        tried.trouble = trouble
        if trouble.crowded and self._running:
            self._connections.refused(moment, len(self._running))
        if trouble.relocate or tried.failures > 1:
            transfer.location = None
        if isinstance(transfer, Whole):
            transfer.forget()
        if tried.troubles >= _TROUBLES:
            raise _given_up(transfer)
        tried.due = moment + (trouble.after or self._pace.backoff * 2 ** min(tried.failures - 1, _DOUBLINGS))
        self._waiting.append(transfer)

    def _hash(self, part: Part) -> None:
        """Hash a part in order; keep it if it is complete and matches its checksum."""
        checksum, block, offset = Checksum(part.file), bytearray(_BLOCK), 0
        view = memoryview(block)
        while count := part.read(block, offset, self._stopped):
            checksum.update(view[:count])
            offset += count
        if self._stopped.is_set():
            return
        if offset == part.file.size and checksum.matches():
            part.keep(self._arrival)
            self._keep(part.file, checksum.sha256)
        else:
            part.drop()
            self._meter.add(-part.counted)
            self._wrong.add(part.file)

    def _refuse(self, file: HubFile) -> None:
        self._meter.add(-file.size)
        self._wrong.add(file)


def _crowded(transfer: Transfer) -> bool:
    return transfer.tried.trouble is not None and transfer.tried.trouble.crowded


def _given_up(transfer: Transfer) -> TryAgain:
    trouble = transfer.tried.trouble
    assert trouble  # noqa: S101  # it failed
    return TryAgain(trouble.reason, trouble.message, after=trouble.after)


def _no_ranges(file: HubFile) -> Trouble:
    return Trouble(Reason.UNAVAILABLE, f"The server sends {file.path!r} from its beginning only, and not to its end.")
