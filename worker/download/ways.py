"""Which way large files come that the Hub offers over both: over Xet, or over plain HTTP."""

import threading

import structlog

_WARM = 1.0
"""Seconds that a way takes to come to its rate."""
_MEASURED = 3.0
"""Seconds that its rate is then taken over."""
_WORTH = 15.0
"""Seconds that must be left at the rate over Xet, for plain HTTP to be tried as well."""
_MARGIN = 1.1
"""By how much plain HTTP must be faster."""
_TROUBLES = 8
"""Times that Xet may fail, since it brought something, before it is given up."""

log = structlog.get_logger()


class Ways:
    """`mode`: "on" and "auto" begin over Xet, and give it up when it fails; "auto" also when plain HTTP is faster.

    Moments are seconds of any steady clock.
    """

    def __init__(self, mode: str, moment: float) -> None:
        self.xet = mode != "off"
        self._trying = mode == "auto"
        self._due = moment + _WARM
        self._began: tuple[float, int] | None = None
        self._over_xet = 0.0
        self._failures = 0
        self._lock = threading.Lock()

    def look(self, moment: float, count: int, left: int) -> None:
        """Measure, and choose: `count` bytes came so far, `left` are to come that both ways could bring."""
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

    def brought(self) -> None:
        """Something came over Xet."""
        self._failures = 0

    def failed(self, why: str) -> None:
        """A request over Xet failed; after enough of them it is given up."""
        with self._lock:
            self._failures += 1
            enough = self._failures >= _TROUBLES
        if enough:
            self.give_up(why)

    def give_up(self, why: str) -> None:
        """Nothing more over Xet."""
        with self._lock:
            was, self.xet, self._trying = self.xet or self._trying, False, False
        if was:
            log.warning("xet failed: what is left comes over plain HTTP", why=why)
