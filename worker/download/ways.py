"""Chooses Xet or plain HTTP for large files that the Hub offers over both."""

import threading

import structlog

_WARM = 1.0
"""Seconds that a way takes to reach its full rate."""
_MEASURED = 3.0
"""Seconds over which its rate is then measured."""
_WORTH = 15.0
"""Seconds that must remain at Xet's rate for plain HTTP to be tried, too."""
_MARGIN = 1.1
"""The factor by which plain HTTP must be faster."""

log = structlog.get_logger()


class Ways:
    """`mode`: "on" and "auto" begin with Xet and give it up when it fails; "auto" also if plain HTTP is faster.

    Moments are seconds of a monotonic clock.
    """

    def __init__(self, mode: str, moment: float) -> None:
        self.xet = mode != "off"
        self._trying = mode == "auto"
        self._due = moment + _WARM
        self._began: tuple[float, int] | None = None
        self._over_xet = 0.0
        self._lock = threading.Lock()

    def look(self, moment: float, count: int, left: int) -> None:
        """Measure and choose: `count` bytes are fetched so far, `left` bytes remain that both ways offer."""
        with self._lock:
            if not self._trying or moment < self._due:
                return
            if self._began is None:
                self._began, self._due = (moment, count), moment + _MEASURED
                return
            since, before = self._began
            rate = (count - before) / (moment - since)
            if self.xet:
                self._trying = left > rate * _WORTH
                if self._trying:
                    self._over_xet, self.xet = rate, False
                    self._began, self._due = None, moment + _WARM
                return
            self.xet, self._trying = rate < self._over_xet * _MARGIN, False
        way = "xet" if self.xet else "plain http"
        log.info("large files come the faster way", way=way, xet_rate=int(self._over_xet), plain_rate=int(rate))

    def give_up(self, why: str) -> None:
        """Use plain HTTP only from now on."""
        with self._lock:
            was, self.xet, self._trying = self.xet or self._trying, False, False
        if was:
            log.warning("xet failed: what is left comes over plain HTTP", why=why)
