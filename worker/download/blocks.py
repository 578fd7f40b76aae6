"""Which bytes of a file are here. Pure: no disk, no network.

A file is divided into blocks of 4 MiB; of each block, some bytes from its beginning are here.
"""

BLOCK = 4 << 20
"""Most bytes that become resumable together."""


class Blocks:
    """The blocks of one file of `size` bytes. Not thread-safe."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = -(-size // BLOCK)
        self.reached = [0] * self.count
        """Bytes from the beginning of each block that are here."""

    @property
    def first_incomplete(self) -> int:
        """The first block of which bytes are missing; `count` if there is none."""
        return next((block for block in range(self.count) if not self.is_complete(block)), self.count)

    def length(self, block: int) -> int:
        return min(BLOCK, self.size - block * BLOCK)

    def is_complete(self, block: int) -> bool:
        return self.reached[block] == self.length(block)

    def note(self, block: int, reached: int) -> None:
        """Note that `reached` bytes of a block were here before."""
        self.reached[block] = max(self.reached[block], min(reached, self.length(block)))

    def add(self, start: int, end: int) -> int:
        """Count bytes that follow those already here in their block. Return how many of them are new."""
        fresh = 0
        for block in range(start // BLOCK, -(-end // BLOCK)):
            reached = min(end - block * BLOCK, BLOCK)
            fresh += max(0, reached - self.reached[block])
            self.reached[block] = max(reached, self.reached[block])
        return fresh

    def ready(self, offset: int) -> int:
        """Return how many bytes from `offset` on are here, within its block."""
        block = offset // BLOCK
        return max(0, block * BLOCK + self.reached[block] - offset)
