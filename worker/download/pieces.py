"""Which bytes of a file are here, which are being fetched, and which to fetch next. Nothing here knows of disk or network.

A file is counted in steps of 4 MiB, of each of which a part from its beginning is here. Connections take pieces, rows of
steps; where nothing is left to take, a piece can be divided, so that no slow connection is left alone with the end.
"""

STEP = 4 << 20
"""Bytes that become resumable together, at the most."""
_AHEAD = 64
"""Steps that connections may be ahead of the hasher: on a fast link it would starve beside them, and end long after."""


class Piece:
    """Bytes that one connection fetches: what is left of them. Another one may take over its end."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end


class Pieces:
    """The steps of one file of `size` bytes. Not for several threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = -(-size // STEP)
        self.reached = [0] * self.count
        """Bytes from the beginning of each step that are here."""
        self._taken = bytearray(self.count)
        self._free = 0
        """No step before this one is free."""
        self.followed = 0
        """The step that the hasher is at."""
        self._begun_at = 0

    def length(self, step: int) -> int:
        return min(STEP, self.size - step * STEP)

    def note(self, step: int, reached: int) -> None:
        """So much of a step was here before."""
        self.reached[step] = max(self.reached[step], min(reached, self.length(step)))
        if self.reached[step] == self.length(step):
            self._taken[step] = 1

    def begin(self) -> None:
        """All that was here is noted."""
        self._begun_at = self._taken.find(0)

    @property
    def is_taken(self) -> bool:
        return self._taken.find(0, self._free) < 0

    @property
    def free(self) -> int:
        """Bytes of the steps that nobody took."""
        return self._taken.count(0, self._free) * STEP

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of it is here, nor asked for."""
        return not any(self._taken) and not any(self.reached)

    def take(self, length: int) -> Piece | None:
        """The next bytes to fetch, about `length` of them; none while the hasher is too far behind."""
        first = self._taken.find(0, self._free)
        self._free = first if first >= 0 else self.count
        # What was here at the start must not hold up the rest.
        if first < 0 or (self.followed >= self._begun_at and first - self.followed >= _AHEAD):
            return None
        last = first + 1
        while last < self.count and (last - first) * STEP < length and not self._taken[last] and not self.reached[last]:
            last += 1
        self._taken[first:last] = b"\1" * (last - first)
        return Piece(first * STEP + self.reached[first], min(last * STEP, self.size))

    def divide(self, piece: Piece) -> Piece | None:
        """The second half of what is left of a piece, in whole steps, which is no longer that piece's."""
        middle = -(-(piece.start + piece.end) // 2 // STEP) * STEP
        if not piece.start + STEP <= middle < piece.end:
            return None
        piece.end, end = middle, piece.end
        return Piece(middle, end)

    def give_back(self, piece: Piece) -> None:
        """Let others take what is left of a piece."""
        first, last = piece.start // STEP, -(-piece.end // STEP)
        if piece.start < piece.end:
            self._taken[first:last] = bytes(last - first)
            self._free = min(self._free, first)

    def wrote(self, start: int, end: int) -> int:
        """These bytes are here, after those before them in their step; how many of them were not."""
        fresh = 0
        for step in range(start // STEP, -(-end // STEP)):
            reached = min(end - step * STEP, STEP)
            fresh += max(0, reached - self.reached[step])
            self.reached[step] = max(reached, self.reached[step])
        return fresh

    def ready(self, offset: int) -> int:
        """Bytes from `offset` to the end of its step, or of what is here of it."""
        step = offset // STEP
        return max(0, step * STEP + self.reached[step] - offset)
