"""Counts refused credentials by address and by key: beyond a rate, all failures get the same answer."""

import time
from collections import OrderedDict
from collections.abc import Iterable

_BURST = 20
"""Failures allowed at once."""
_PER_SECOND = 0.2
"""Failures allowed per second after that."""
_REMEMBERED = 10_000
"""Addresses and keys kept; the ones that failed longest ago are dropped first."""


class Failures:
    """A token bucket for each address and each key. Correct credentials are never counted."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, sources: Iterable[str]) -> float:
        """Count one failure of each of `sources`. Return the seconds until one is answered; 0 if this one is."""
        return max(self._take(source) for source in sources)

    def _take(self, source: str) -> float:
        now = time.monotonic()
        left, at = self._buckets.pop(source, (float(_BURST), now))
        left = min(left + (now - at) * _PER_SECOND, _BURST)
        wait = max((1 - left) / _PER_SECOND, 0.0)
        self._buckets[source] = (left if wait else left - 1, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return wait
