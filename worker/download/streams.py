"""Fetches ranges of large files over Xet, in threads, beside the plain HTTP connections.

hf_xet returns nothing before a request is complete, and can't be interrupted. So requests are short: a kill loses
little, a bandwidth limit holds, and a stalled request is abandoned while others fetch its range.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from worker.download.allocator import Range, RangeAllocator
from worker.download.answers import Trouble
from worker.download.blocks import BLOCK
from worker.download.retries import Retries, RetryPolicy
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
_FAILURES = 8
"""Failures of Xet since its last success after which it is given up."""


@dataclass(slots=True, eq=False)
class _Hold:
    """A range that a thread fetches."""

    allocator: RangeAllocator
    range: Range
    asked: float | None = None
    """When its running request began."""

    def ask(self) -> float:
        """Note that a request begins; return when."""
        self.asked = moment = time.monotonic()
        return moment

    def answered(self) -> None:
        self.asked = None

    def give_back(self) -> None:
        """Return the rest of the range, for other connections."""
        self.allocator.give_back(self.range)


class Streams:
    """Fetches files while Xet is the chosen way."""

    def __init__(
        self,
        store: Store,
        allocators: Sequence[RangeAllocator],
        sink: Sink,
        ways: Ways,
        *,
        window: float,
        most: int,
    ) -> None:
        """`window`: seconds without an answer after which Xet is stalled."""
        self._store = store
        self._allocators = allocators
        self._sink = sink
        self._ways = ways
        self._window = window
        self._long = min(_SECONDS, window / 4)
        self._retries = Retries(RetryPolicy(self._long, limit=_FAILURES, doublings=0))
        self._fetched = 0
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
            return not self._holds and self._is_taken

    def turn(self, moment: float) -> None:
        """Start threads for the remaining work and return stalled ranges. Raise an error that ended a thread."""
        if self._error:
            raise self._error
        with self._lock:
            stalled = [hold for hold in self._holds if hold.asked and moment - hold.asked > self._window]
        for hold in stalled:
            self._ways.give_up("the content store is stalled")
            self._let_go(hold)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._ways.xet and not self._is_taken:
            for _ in range(self._most - len(self._threads)):
                thread = threading.Thread(target=self._run, daemon=True, name="xet")
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Let the threads end; stalled threads end when their request does."""
        self._stopped.set()

    @property
    def _is_taken(self) -> bool:
        return all(allocator.is_taken for allocator in self._allocators)

    def _run(self) -> None:
        length = _FIRST
        try:
            while self._ways.xet and not self._stopped.is_set():
                if hold := self._take():
                    length = self._bring(hold, length)
                elif self._is_taken:
                    return
                else:
                    self._stopped.wait(_PAUSE)
        except Exception as error:  # noqa: BLE001  # `turn` raises it
            self._error = error

    def _take(self) -> _Hold | None:
        with self._lock:
            for allocator in self._allocators:
                if taken := allocator.take(BLOCK):
                    hold = _Hold(allocator, taken)
                    self._holds.add(hold)
                    return hold
        return None

    def _let_go(self, hold: _Hold) -> None:
        """Return the rest of a range, for other connections."""
        with self._lock:
            if hold in self._holds:
                self._holds.discard(hold)
                hold.give_back()

    def _bring(self, hold: _Hold, length: int) -> int:
        """Fetch a range, in requests of `length` bytes at first. Return the length for the next request."""
        try:
            while self._is_wanted(hold):
                length = self._ask(hold, length)
        except Trouble as trouble:
            self._let_go(hold)
            self._stopped.wait(self._failed(trouble))
        except Refused as refusal:
            self._ways.give_up(str(refusal))
        finally:
            self._let_go(hold)
        return length

    def _failed(self, trouble: Trouble) -> float:
        """Note a failed request; give Xet up after too many. Return the seconds to wait."""
        moment = time.monotonic()
        with self._lock:
            self._retries.failed(trouble, moment, fetched=self._fetched, progress=1)
            wait, is_exhausted = self._retries.due - moment, self._retries.is_exhausted
        if is_exhausted:
            self._ways.give_up(trouble.message)
        return wait

    def _is_wanted(self, hold: _Hold) -> bool:
        there = hold in self._holds and not hold.range.is_empty and not hold.allocator.is_given_up
        return there and self._ways.xet and not self._stopped.is_set()

    def _ask(self, hold: _Hold, length: int) -> int:
        wanted, throttle = hold.range, self._sink.throttle
        if throttle.limit:
            length = min(length, max(_LIMITED, throttle.limit // self._most))
        count = min(length, wanted.end - wanted.start)
        throttle(count)
        began = hold.ask()
        chunks = self._store.fetch(hold.allocator.file, wanted.start, wanted.start + count)
        passed = time.monotonic() - began
        hold.answered()
        if hold in self._holds:
            with self._lock:
                self._fetched += count
            self._sink.meter.add(hold.allocator.write(wanted, chunks), fetched=True)
        return max(_FIRST, min(int(count * self._long / max(passed, 0.001)), BLOCK))
