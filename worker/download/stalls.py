"""When a connection counts as stalled."""

from dataclasses import dataclass

_QUIET = 15.0
"""Seconds without a byte after which a connection counts as stalled, even if its limit allows more."""


@dataclass(frozen=True, slots=True)
class StallLimit:
    """A connection counts as stalled below `rate` bytes per second over `window` seconds."""

    window: float
    rate: float

    def is_reached(self, count: int, seconds: float) -> bool:
        """Whether `count` bytes in `seconds` are too few."""
        return seconds >= self.window and count < self.rate * seconds


class StallWatch:
    """Counts one connection's bytes. Moments are seconds of a clock that runs only during network activity."""

    def __init__(self, limit: StallLimit, moment: float) -> None:
        self.count = 0
        """Bytes since the current window began."""
        self._limit = limit
        self._since = self._heard = moment

    def add(self, count: int, moment: float) -> None:
        self.count += count
        self._heard = moment

    def look(self, moment: float) -> str | None:
        """Return what is wrong with a stalled connection; begin a new window when one has passed."""
        if moment - self._heard >= min(_QUIET, self._limit.window):
            return "The connection sends nothing."
        if self._limit.is_reached(self.count, moment - self._since):
            return "The connection hardly sends anything."
        if moment - self._since >= self._limit.window:
            self._since, self.count = moment, 0
        return None
