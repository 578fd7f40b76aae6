"""Limits how often something may happen for each source: an address, a key."""

import time
from collections import OrderedDict
from collections.abc import Iterable

_REMEMBERED = 10_000
"""Sources kept; the ones seen longest ago are dropped first."""


class Throttle:
    """A token bucket for each source: `burst` times at once, and `per_second` after that."""

    def __init__(self, *, burst: int, per_second: float) -> None:
        self._burst, self._per_second = float(burst), per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, sources: Iterable[str]) -> float:
        """Count one for each of `sources`. Return the seconds until one is allowed; 0 if this one is."""
        return max(self._take(source) for source in sources)

    def _take(self, source: str) -> float:
        now = time.monotonic()
        left, at = self._buckets.pop(source, (self._burst, now))
        left = min(left + (now - at) * self._per_second, self._burst)
        wait = max((1 - left) / self._per_second, 0.0)
        self._buckets[source] = (left if wait else left - 1, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return wait
