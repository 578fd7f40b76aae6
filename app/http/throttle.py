"""How often credentials were refused, by address and by key: beyond a rate, guesses are no longer told apart."""

import time
from collections import OrderedDict
from collections.abc import Iterable

_BURST = 20
"""Failures at once."""
_PER_SECOND = 0.2
"""Failures after that."""
_REMEMBERED = 10_000
"""How many addresses and keys; the ones that failed longest ago are forgotten first."""


class Failures:
    """A token bucket for each address and each key. Whoever has the right credentials never comes here."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, sources: Iterable[str]) -> float:
        """One more failure of all of `sources`. Seconds until the next one is answered; 0 while this one is."""
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
