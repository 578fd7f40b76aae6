"""How many bytes arrived, and how fast."""

import threading
from collections import deque

_WINDOW = 5.0
"""Seconds over which the rate is averaged."""


class Meter:
    """Counts bytes from many threads."""

    def __init__(self) -> None:
        self._owed = 0
        self.value = 0
        self.rate = 0
        self.fetched = 0
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, count: int, *, fetched: bool = False) -> None:
        """Add `count` bytes (negative: remove). Only bytes `fetched` now count for the rate."""
        with self._lock:
            if fetched:
                self.fetched += count
            owed = min(self._owed, max(count, 0))
            self._owed -= owed
            self.value += count - owed

    def settle(self, count: int) -> None:
        """Ignore the next `count` bytes: they are fetched a second time."""
        with self._lock:
            self._owed += count

    def sample(self, moment: float) -> None:
        """Compute the rate at `moment`, in seconds of a monotonic clock."""
        self._samples.append((moment, self.fetched))
        while moment - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        first, count = self._samples[0]
        if moment > first:
            self.rate = max(0, int((self.fetched - count) / (moment - first)))
