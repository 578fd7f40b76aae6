"""How many transfers run at once: few at first, more while the rate grows, fewer when the server refuses."""

_FIRST = 4
_LOOK = 0.25
"""Seconds between measurements of the rate, while connections are added."""
_WORTH = 1.05
"""The factor by which the rate must have grown for the connections to be doubled again."""
_AGAIN = 4.0
"""Seconds until one more is tried after an increase did not help or one was refused; doubled by each refusal."""
_LONGEST = 60.0


class Connections:
    """`allowed` connections, at most `most`. Moments are seconds of a monotonic clock, counts are total bytes."""

    def __init__(self, most: int, moment: float) -> None:
        self.allowed = min(_FIRST, most)
        self._most = most
        self._pause = _AGAIN
        self._refused = False
        self._rate = 0.0
        self._due = moment + _LOOK
        self._looked = moment, 0

    def look(self, moment: float, count: int) -> None:
        """Add connections when it is time: double them if the last increase raised the rate, else add one."""
        if moment < self._due or self.allowed >= self._most:
            return
        began, before = self._looked
        rate, self._looked = (count - before) / (moment - began), (moment, count)
        doubles = not self._refused and rate > self._rate * _WORTH
        self.allowed = min(self._most, self.allowed * 2 if doubles else self.allowed + 1)
        self._rate, self._due = rate, moment + (_LOOK if doubles else self._pause)

    def refused(self, moment: float, others: int) -> None:
        """Reduce `allowed` to `others`, the connections that the server accepted while it refused one."""
        self.allowed = max(1, min(self.allowed, others))
        self._refused, self._due = True, moment + self._pause
        self._pause = min(self._pause * 2, _LONGEST)
