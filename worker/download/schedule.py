"""Which transfer begins next: a retry, a small file, or a range of the largest file."""

from collections import deque
from collections.abc import Sequence

from worker.download.allocator import Range, RangeAllocator
from worker.download.blocks import BLOCK
from worker.download.listing import HubFile
from worker.download.retries import Retries, RetryPolicy
from worker.download.transfers import FileTransfer, RangeTransfer, Sink, Transfer
from worker.download.ways import Ways

SMALL_AT_ONCE = 16
"""Most small files that are fetched at once."""
_SECONDS = 3.0
"""Seconds that one request should take at the connection's rate: long compared to its round trip."""
_RANGE = 2 * BLOCK, 8 * BLOCK
"""Shortest and longest range in bytes: short enough to be hashed in order."""
_WORTH_DIVIDING = 0.3
"""Seconds that a connection must still need before another one takes over half of its range."""
_LONGEST_WAIT = 30.0
"""Most seconds to wait for a retry while nothing else is left to fetch."""


class Schedule:
    """The files that are left, and the transfers that run or wait for a retry. For one thread.

    `connections`: most transfers of large files at once. Moments are seconds of a monotonic clock.
    """

    def __init__(
        self,
        large: Sequence[RangeAllocator],
        small: Sequence[HubFile],
        ways: Ways,
        sink: Sink,
        *,
        connections: int,
        retries: RetryPolicy,
    ) -> None:
        self._plain = deque(each for each in large if not each.file.xet)
        self._both = [each for each in large if each.file.xet]
        """Files that can be fetched over Xet, too."""
        self._small = deque(small)
        self._ways = ways
        self._sink = sink
        self._connections = connections
        self._retries = retries
        self._running: set[Transfer] = set()
        self._waiting: list[Transfer] = []

    @property
    def running(self) -> int:
        """How many transfers run."""
        return len(self._running)

    def is_over(self, moment: float) -> bool:
        """Whether nothing runs, waits or is left. Raises `TryAgain` if the only retries are too far away."""
        if self._running:
            return False
        if self._waiting:
            soonest = min((transfer.retries for transfer in self._waiting), key=lambda retries: retries.due)
            if soonest.due - moment > _LONGEST_WAIT:
                raise soonest.error()
        return not (self._waiting or self._plain or self._small)

    def begin(self, moment: float, *, allowed: int, small: bool) -> Transfer | None:
        """Return the next transfer, if any may begin beside `allowed` others. `small`: whether small files may."""
        transfer = self._next(moment, allowed, small=small) if len(self._running) < allowed else None
        if transfer:
            self._running.add(transfer)
        return transfer

    def end(self, transfer: Transfer) -> None:
        self._running.discard(transfer)

    def again(self, transfer: Transfer) -> None:
        """Begin a transfer that has ended once more when its retry is due."""
        self._waiting.append(transfer)

    def _next(self, moment: float, allowed: int, *, small: bool) -> Transfer | None:
        self._waiting = [transfer for transfer in self._waiting if not transfer.done]
        for transfer in self._waiting:
            if transfer.retries.due <= moment:
                self._waiting.remove(transfer)
                return transfer
        if self._waiting and not self._running and any(transfer.retries.is_crowded for transfer in self._waiting):
            return None  # The server refuses all: more requests would not help.
        while self._plain and self._plain[0].is_taken:
            self._plain.popleft()
        files = sum(isinstance(transfer, FileTransfer) for transfer in self._running)
        large = self._plain or (self._both and not self._ways.xet)
        share = max(1, allowed // 2) if large else SMALL_AT_ONCE
        if self._small and files < share and small:
            return FileTransfer(self._small.popleft(), self._sink, Retries(self._retries))
        if len(self._running) - files >= self._connections:
            return None
        return self._next_range(moment)

    def _next_range(self, moment: float) -> RangeTransfer | None:
        """Return a free range or, at the end, half of another connection's remaining range."""
        shortest, longest = _RANGE
        length = min(max(shortest, int(self._sink.meter.rate / max(len(self._running), 1) * _SECONDS)), longest)
        allocators = [*self._plain, *([] if self._ways.xet else self._both)]
        for allocator in allocators:
            # Shorter towards the end, so that all connections finish at about the same time.
            if taken := allocator.take(min(length, max(shortest, allocator.free // self._connections))):
                return self._transfer(allocator, taken, moment)
        if self._waiting or not all(allocator.is_taken for allocator in allocators):
            return None
        ranges = [transfer for transfer in self._running if isinstance(transfer, RangeTransfer)]
        last = max(ranges, key=lambda transfer: transfer.left(moment), default=None)
        half = last.allocator.divide(last.range) if last and last.left(moment) > _WORTH_DIVIDING else None
        return self._transfer(last.allocator, half, moment) if last and half else None

    def _transfer(self, allocator: RangeAllocator, taken: Range, moment: float) -> RangeTransfer:
        return RangeTransfer(allocator, taken, self._sink, Retries(self._retries), moment)
