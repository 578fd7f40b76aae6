"""Fetches pieces of large files over Xet, in threads, beside the plain HTTP connections.

hf_xet returns nothing before a request is complete, and can't be interrupted. So requests are short: a kill loses
little, a bandwidth limit holds, and a stalled request is abandoned while others fetch its piece.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from worker.download.answers import Trouble
from worker.download.partial import Part
from worker.download.pieces import STEP, Piece
from worker.download.transfers import Sink
from worker.download.ways import Ways
from worker.download.xet import Refused, Store

_MOST = 4
"""Most threads: each holds a request's bytes several times in memory."""
_FIRST = 256 << 10
"""Bytes of the first and of the shortest request: each fetches whole chunks, of 64 KiB, that overlap its range."""
_LIMITED = 512 << 10
"""Most bytes of a request under a bandwidth limit, unless a thread's share per second is more."""
_SECONDS = 2.0
"""Seconds that a request should take, or a quarter of the stall window if that is shorter."""
_PAUSE = 0.05
"""Seconds between polls of whether the hasher has caught up."""


@dataclass(slots=True, eq=False)
class _Hold:
    """A piece that a thread fetches. `asked`: when its running request began."""

    part: Part
    piece: Piece
    asked: float | None = None


class Streams:
    """Fetches `parts` while Xet is the chosen way."""

    def __init__(
        self, store: Store, parts: Sequence[Part], sink: Sink, ways: Ways, *, window: float, most: int
    ) -> None:
        """`window`: seconds without an answer after which Xet is stalled."""
        self._store = store
        self._parts = parts
        self._sink = sink
        self._ways = ways
        self._window = window
        self._most = min(_MOST, most)
        self._lock = threading.Lock()
        self._holds: set[_Hold] = set()
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is being fetched and nothing is left to take."""
        with self._lock:
            return not self._holds and all(part.is_taken for part in self._parts)

    def turn(self, moment: float) -> None:
        """Start threads for the remaining work and return stalled pieces. Raise an error that ended a thread."""
        if self._error:
            raise self._error
        with self._lock:
            stalled = [hold for hold in self._holds if hold.asked and moment - hold.asked > self._window]
        for hold in stalled:
            self._ways.give_up("the content store is stalled")
            self._let_go(hold)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._ways.xet and not all(part.is_taken for part in self._parts):
            for _ in range(self._most - len(self._threads)):
                thread = threading.Thread(target=self._run, daemon=True, name="xet")
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Let the threads end; stalled threads end when their request does."""
        self._stopped.set()

    def _run(self) -> None:
        length = _FIRST
        try:
            while self._ways.xet and not self._stopped.is_set():
                if hold := self._take():
                    length = self._bring(hold, length)
                elif all(part.is_taken for part in self._parts):
                    return
                else:
                    self._stopped.wait(_PAUSE)
        except Exception as error:  # noqa: BLE001  # `turn` raises it
            self._error = error

    def _take(self) -> _Hold | None:
        with self._lock:
            for part in self._parts:
                if piece := part.take(STEP):
                    hold = _Hold(part, piece)
                    self._holds.add(hold)
                    return hold
        return None

    def _let_go(self, hold: _Hold) -> None:
        """Return the rest of a piece, for other connections."""
        with self._lock:
            if hold in self._holds:
                self._holds.discard(hold)
                hold.part.give_back(hold.piece)

    def _bring(self, hold: _Hold, length: int) -> int:
        """Fetch a piece, in requests of `length` bytes at first. Return the length for the next request."""
        try:
            while self._is_wanted(hold):
                length = self._ask(hold, length)
        except Trouble as trouble:
            self._ways.failed(trouble.message)
            self._let_go(hold)
            self._stopped.wait(min(_SECONDS, self._window / 4))
        except Refused as refusal:
            self._ways.give_up(str(refusal))
        finally:
            self._let_go(hold)
        return length

    def _is_wanted(self, hold: _Hold) -> bool:
        piece = hold.piece
        there = hold in self._holds and piece.start < piece.end and not hold.part.given_up
        return there and self._ways.xet and not self._stopped.is_set()

    def _ask(self, hold: _Hold, length: int) -> int:
        piece, throttle = hold.piece, self._sink.throttle
        if throttle.limit:
            length = min(length, max(_LIMITED, throttle.limit // self._most))
        count = min(length, piece.end - piece.start)
        throttle(count)
        began = hold.asked = time.monotonic()
        chunks = self._store.fetch(hold.part.file, piece.start, piece.start + count)
        passed, hold.asked = time.monotonic() - began, None
        if hold in self._holds:
            self._ways.brought()
            self._sink.meter.add(hold.part.write(piece, chunks), fetched=True)
        long = min(_SECONDS, self._window / 4)
        return max(_FIRST, min(int(count * long / max(passed, 0.001)), STEP))
