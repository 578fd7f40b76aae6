"""Fetches files over HTTP: several connections, in ranges, from where the last attempt stopped, hashed meanwhile.

huggingface_hub 2.x starts every file again after a kill, checks no content, reads one connection a file and can't be
told to stop. Large files come in pieces over several connections, in order, so that one hasher can follow them. One
thread serves all connections; a request that is refused waits while others make progress. Pieces come over Xet as well,
in threads of their own, where the Hub offers that.

One process: the thread of the connections takes 1.1 s of CPU for a GiB over TLS, so that a download comes to about 8
Gbit/s at the most. Several would go beyond that where cores are to spare, but models that are fetched at the same time
have a process each, and the hasher of a file is next in the way (0.8 s for a GiB).
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import Reason, TryAgain
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
"""Files up to this size, in bytes, are fetched whole, in memory, many at a time."""
_SMALL_AT_ONCE = 16
_HASHERS = 2
_BLOCK = 1 << 20
_TURN = 0.1
"""Seconds between looks at what else there is to do."""
_SECONDS = 3.0
"""Of a connection's rate, that one request asks for: long enough to be worth its round trip."""
_PIECE = 2 * STEP, 8 * STEP
"""The shortest and the longest of them: short enough to be hashed in order."""
_WORTH_DIVIDING = 0.3
"""Seconds that a connection has before it, for another one to take half of that over."""
_TROUBLES = 5
"""Times in a row that a request may fail before the attempt is given up, unless something came meanwhile."""
_PROGRESS = 1 << 20
_OTHERS_PROGRESS = 1 << 16
"""Bytes that are something: of a request that is alone, and of others beside it."""
_LONGEST_WAIT = 30.0
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """How to go about it: `connections` for large files, `backoff` seconds after the first trouble.

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
        tree: Path,
        sink: Sink,
        pace: Pace,
        *,
        keep: Keep,
    ) -> None:
        self._wire, self._store, self._ways = wire, store, ways
        self._tree = tree
        self._sink, self._meter = sink, sink.meter
        self._pace = pace
        self._keep = keep
        self._stopped = threading.Event()
        self._wrong: set[HubFile] = set()
        self._parts: deque[Part] = deque()
        self._both: list[Part] = []
        """What comes over Xet as well."""
        self._small: deque[HubFile] = deque()
        self._running: set[Transfer] = set()
        self._waiting: list[Transfer] = []
        self._saver = Saver(tree, keep, self._refuse)
        self._connecting = ThreadPoolExecutor(1, thread_name_prefix="connections")
        self._hashers = ThreadPoolExecutor(_HASHERS, thread_name_prefix="hasher")

    def fetch(self, parts: Sequence[Part], small: Sequence[HubFile]) -> list[HubFile]:
        """Fetch all; those that are not what the manifest says are returned, and nothing of them is kept.

        Raises `TryAgain`, `Failed` or `OSError`; threads may then still run, and write nothing but bytes in flight.
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
        """After a failure: return when no file is put in its place any more."""
        self._end(wait=True)

    def _end(self, *, wait: bool) -> None:
        for pool in (self._connecting, self._hashers):
            pool.shutdown(wait=wait, cancel_futures=True)
        self._saver.end(wait=wait)

    def _transfer(self) -> None:
        """Serve all connections until everything came."""
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
        """Whether anything is left to do, while nothing runs. Raises `TryAgain` when that takes too long to wait for."""
        if self._waiting:
            soonest = min(self._waiting, key=lambda transfer: transfer.tried.due)
            if soonest.tried.due - moment > _LONGEST_WAIT:
                raise _given_up(soonest)
        return bool(self._waiting or self._parts or self._small or not self._streams.is_over)

    def _next(self, moment: float) -> Transfer | None:
        """What to ask for next: what failed and may be tried again, a small file, a piece of the largest file."""
        self._waiting = [transfer for transfer in self._waiting if not transfer.done]
        for transfer in self._waiting:
            if transfer.tried.due <= moment:
                self._waiting.remove(transfer)
                return transfer
        if self._waiting and not self._running and any(_crowded(transfer) for transfer in self._waiting):
            return None  # The other side refuses all: more requests help nobody.
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
        """A piece that nobody fetches, or at the end half of what another connection has before it."""
        shortest, longest = _PIECE
        length = min(max(shortest, int(self._meter.rate / max(len(self._running), 1) * _SECONDS)), longest)
        parts = [*self._parts, *([] if self._ways.xet else self._both)]
        for part in parts:
            # Shorter towards the end, so that all connections come to it at about the same time.
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
        """Ask once more; then have one connection fetch the file from its beginning to its end."""
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
        """Let some time pass, or raise `TryAgain` when it was enough. While others make progress it never is."""
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
        """Follow a part in order; keep it when it is whole and right."""
        checksum, block, offset = Checksum(part.file), bytearray(_BLOCK), 0
        view = memoryview(block)
        while count := part.read(block, offset, self._stopped):
            checksum.update(view[:count])
            offset += count
        if self._stopped.is_set():
            return
        if offset == part.file.size and checksum.matches():
            part.keep(self._tree / part.file.path)
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
