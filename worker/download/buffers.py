"""Memory for the parts of files that are sent to a store while they arrive."""

import threading

_MOST = 8
"""Most parts in flight: they are what a later attempt fetches again after a kill."""
_LEAST = 2
"""Parts that are always possible: one arrives while one is sent."""


class Buffers:
    """The buffers of one process, for all its files: `limit` bytes together. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken = self._bytes = 0
        self._idle: list[bytearray] = []
        """Kept for the next part: the system clears fresh memory, page by page."""

    def take(self, size: int, *, beyond: bool = False) -> bytearray | None:
        """Return a buffer of `size` bytes; None if there is no memory now. `beyond`: even then."""
        with self._lock:
            is_full = self._taken >= _MOST or self._bytes + size > self._limit
            if is_full and self._taken >= _LEAST and not beyond:
                return None
            self._taken += 1
            self._bytes += size
            if self._idle and len(self._idle[-1]) == size:
                return self._idle.pop()
            self._idle.clear()  # parts have another size now
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        with self._lock:
            self._taken -= 1
            self._bytes -= len(buffer)
            if self._bytes + sum(map(len, self._idle)) + len(buffer) <= self._limit:
                self._idle.append(buffer)

    def worth_freeing(self, count: int) -> bool:
        """Whether so many buffers are a good part of all that are taken."""
        with self._lock:
            return count * 4 >= self._taken
