"""Limits a process to its share of the bandwidth."""

import threading
import time
from collections.abc import Callable

_BURST = 0.2
"""Burst after a pause, in seconds of the limit."""


class Throttle:
    """Call it with each count of bytes: it sleeps to keep the rate. `limit` returns bytes per second; 0: no limit."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._paid_until = 0.0

    @property
    def limit(self) -> int:
        return self._limit()

    def __call__(self, count: int) -> None:
        limit = self._limit()
        if not limit:
            return
        with self._lock:
            moment = time.monotonic()
            self._paid_until = max(self._paid_until, moment - _BURST) + count / limit
            debt = self._paid_until - moment
        if debt > 0:
            time.sleep(debt)
