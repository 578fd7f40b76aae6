"""Which bytes of a file are fetched next, and by which connection.

Connections take ranges, runs of free blocks; if none is left, a range can be divided, so that no slow connection
fetches the end alone.
"""

import threading

from worker.download.blocks import BLOCK
from worker.download.listing import HubFile
from worker.download.partial import Partial


class Range:
    """The bytes that one connection still has to fetch. Another connection may take over their end."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end

    @property
    def is_empty(self) -> bool:
        return self.start >= self.end

    def advance(self, count: int) -> None:
        """Leave out the first `count` bytes: they are here."""
        self.start = min(self.start + count, self.end)

    def divide(self) -> "Range | None":
        """Cut off the second half, in whole blocks, and return it; `None` if too little is left."""
        middle = -(-(self.start + self.end) // 2 // BLOCK) * BLOCK
        if not self.start + BLOCK <= middle < self.end:
            return None
        self.end, end = middle, self.end
        return Range(middle, end)


class RangeAllocator:
    """The ranges of one partial file. Thread-safe."""

    def __init__(self, partial: Partial) -> None:
        self.partial = partial
        self.location: str | None = None
        """Where the Hub redirected the last request for this file: the CDN's signed link."""
        self._lock = threading.Lock()
        blocks = partial.blocks
        self._taken = bytearray(blocks.is_complete(block) for block in range(blocks.count))
        self._first_free = 0
        """No block before this one is free."""
        self._is_whole = False
        """Whether one connection fetches the whole file."""

    @property
    def file(self) -> HubFile:
        return self.partial.file

    @property
    def is_given_up(self) -> bool:
        """Whether no more bytes are needed."""
        return self.partial.is_given_up

    @property
    def is_taken(self) -> bool:
        """Whether no range is left for another connection."""
        return self._is_whole or self.is_given_up or self._taken.find(0, self._first_free) < 0

    @property
    def free(self) -> int:
        """Bytes that no connection fetches yet, rounded up to blocks."""
        return self._taken.count(0, self._first_free) * BLOCK

    def redirect(self, location: str | None) -> None:
        """Send the next requests for this file to `location`; `None`: to the Hub."""
        self.location = location

    def take(self, length: int) -> Range | None:
        """Take the next range of about `length` bytes; `None` if all is taken or there is no space for more now."""
        with self._lock:
            if self.is_taken:
                return None
            reached = self.partial.blocks.reached
            first = self._first_free = self._taken.find(0, self._first_free)
            last, end = first + 1, min(first + -(-length // BLOCK), len(self._taken))
            while last < end and not self._taken[last] and not reached[last]:
                last += 1
            start = first * BLOCK + reached[first]
            taken = Range(start, self.partial.reserve(start, min(last * BLOCK, self.file.size)))
            if taken.is_empty:
                return None
            last = -(-taken.end // BLOCK)
            self._taken[first:last] = b"\1" * (last - first)
            return taken

    def divide(self, taken: Range) -> Range | None:
        """Take half of another connection's remaining bytes; `None` if too few are left."""
        with self._lock:
            return None if self._is_whole or self.is_given_up else taken.divide()

    def give_back(self, taken: Range) -> None:
        """Return the rest of a range, for other connections."""
        with self._lock:
            first, last = taken.start // BLOCK, -(-taken.end // BLOCK)
            if not taken.is_empty:
                self._taken[first:last] = bytes(last - first)
                self._first_free = min(self._first_free, first)

    def take_all(self) -> Range | None:
        """Take the whole file, for a server that ignores ranges; `None` if another connection has it already."""
        with self._lock:
            is_mine, self._is_whole = not self._is_whole, True
            return Range(0, self.file.size) if is_mine else None

    def pass_on(self) -> bool:
        """Abandon the file if none of it is here or requested. Return whether it was abandoned."""
        with self._lock:
            if self.is_given_up or self._is_whole or any(self._taken) or any(self.partial.blocks.reached):
                return False
            self.partial.abandon()
            return True

    def write(self, taken: Range, chunks: list[bytes]) -> int:
        """Write `chunks` at the start of a range and advance it. Return how many bytes were not there before.

        Bytes past the range's end are left out: another connection fetches them.
        """
        fresh = self.partial.write(chunks, taken.start, taken.end)
        taken.advance(sum(map(len, chunks)))
        return fresh
