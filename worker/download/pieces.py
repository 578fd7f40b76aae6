"""Which bytes of a file are here, which are being fetched, and which are next. Pure: no disk, no network.

A file is divided into steps of 4 MiB; of each step, some bytes from its beginning are here. Connections take pieces,
runs of steps; if none is left, a piece can be divided, so that no slow connection fetches the end alone.
"""

STEP = 4 << 20
"""Most bytes that become resumable together."""
_AHEAD = 64
"""Steps that connections may be ahead of the hasher: on a fast link it would else starve and end long after them."""


class Piece:
    """The bytes that one connection still has to fetch. Another connection may take over their end."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end


class Pieces:
    """The steps of one file of `size` bytes. Not thread-safe."""

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
        """Note that `reached` bytes of a step were here before."""
        self.reached[step] = max(self.reached[step], min(reached, self.length(step)))
        if self.reached[step] == self.length(step):
            self._taken[step] = 1

    def begin(self) -> None:
        """Start, once all that was here is noted."""
        self._begun_at = self._taken.find(0)

    @property
    def is_taken(self) -> bool:
        return self._taken.find(0, self._free) < 0

    @property
    def free(self) -> int:
        """Bytes of the steps that are not taken."""
        return self._taken.count(0, self._free) * STEP

    @property
    def is_untouched(self) -> bool:
        """Whether none of it is here or requested."""
        return not any(self._taken) and not any(self.reached)

    def take(self, length: int) -> Piece | None:
        """Take the next piece of about `length` bytes; `None` if none is left or the hasher is too far behind."""
        first = self._taken.find(0, self._free)
        self._free = first if first >= 0 else self.count
        # Bytes that were here at the start must not delay the rest.
        if first < 0 or (self.followed >= self._begun_at and first - self.followed >= _AHEAD):
            return None
        last = first + 1
        while last < self.count and (last - first) * STEP < length and not self._taken[last] and not self.reached[last]:
            last += 1
        self._taken[first:last] = b"\1" * (last - first)
        return Piece(first * STEP + self.reached[first], min(last * STEP, self.size))

    def divide(self, piece: Piece) -> Piece | None:
        """Cut the second half, in whole steps, off the rest of a piece and return it; `None` if too little is left."""
        middle = -(-(piece.start + piece.end) // 2 // STEP) * STEP
        if not piece.start + STEP <= middle < piece.end:
            return None
        piece.end, end = middle, piece.end
        return Piece(middle, end)

    def give_back(self, piece: Piece) -> None:
        """Return the rest of a piece, for other connections."""
        first, last = piece.start // STEP, -(-piece.end // STEP)
        if piece.start < piece.end:
            self._taken[first:last] = bytes(last - first)
            self._free = min(self._free, first)

    def wrote(self, start: int, end: int) -> int:
        """Count bytes that follow those already here in their step. Return how many of them are new."""
        fresh = 0
        for step in range(start // STEP, -(-end // STEP)):
            reached = min(end - step * STEP, STEP)
            fresh += max(0, reached - self.reached[step])
            self.reached[step] = max(reached, self.reached[step])
        return fresh

    def ready(self, offset: int) -> int:
        """Return how many bytes from `offset` on are here, within its step."""
        step = offset // STEP
        return max(0, step * STEP + self.reached[step] - offset)
