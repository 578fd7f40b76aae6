"""What a file of a repository holds: bytes in memory, a file on disk, or bytes made up as they are read."""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

BLOCK = 1 << 20
"""Bytes that are read and sent at once."""


class Content(ABC):
    """Bytes of a known size that can be read from anywhere, any number of times, by many threads."""

    size: int

    @abstractmethod
    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` to `stop`, in pieces of at most `BLOCK`."""

    @property
    @abstractmethod
    def mark(self) -> str:
        """What tells this content from others without reading all of it."""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        return b"".join(self.blocks(start, self.size if stop is None else stop))

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for block in self.blocks(0, self.size):
            digest.update(block)
        return digest.hexdigest()

    @cached_property
    def oid(self) -> str:
        """The id that git gives to a blob with this content."""
        digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        for block in self.blocks(0, self.size):
            digest.update(block)
        return digest.hexdigest()


class Bytes(Content):
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        for position in range(start, min(stop, self.size), BLOCK):
            yield memoryview(self.data)[position : min(position + BLOCK, stop)]

    @property
    def mark(self) -> str:
        return self.oid


class File(Content):
    """A file on disk, as long as it was when it was added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._status = path.stat()
        self.size = self._status.st_size

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        with self.path.open("rb") as file:
            file.seek(start)
            for position in range(start, min(stop, self.size), BLOCK):
                yield memoryview(file.read(min(BLOCK, stop - position)))

    @property
    def mark(self) -> str:
        return f"{self.path} {self.size} {self._status.st_mtime_ns}"


@dataclass(frozen=True)
class Synthetic(Content):
    """Bytes that follow from size and seed and exist only while they are sent, however many they are.

    Every block is one random pattern turned by a distance of its own, with its number in front: no two blocks are
    alike, so a block that arrives in another's place does not go unnoticed.
    """

    size: int
    seed: int = 0

    def blocks(self, start: int, stop: int) -> Iterator[memoryview]:
        position, stop = start, min(stop, self.size)
        while position < stop:
            number, offset = divmod(position, BLOCK)
            piece = self._block(number)[offset : offset + stop - position]
            yield piece
            position += len(piece)

    def _block(self, number: int) -> memoryview:
        turn = number * 40_503 % BLOCK
        block = bytearray(memoryview(_pattern(self.seed))[turn : turn + BLOCK])
        block[:8] = number.to_bytes(8, "big")
        return memoryview(block)

    @property
    def mark(self) -> str:
        return repr(self)

    @cached_property
    def sha256(self) -> str:
        return _synthetic_sha256(self.size, self.seed)


def content_of(given: "bytes | Path | Content") -> Content:
    match given:
        case bytes():
            return Bytes(given)
        case Path():
            return File(given)
        case _:
            return given


@cache
def _pattern(seed: int) -> bytes:
    return random.Random(seed).randbytes(BLOCK) * 2


@cache
def _synthetic_sha256(size: int, seed: int) -> str:
    """Computed once in a process: for gigabytes it takes seconds."""
    digest = hashlib.sha256()
    for block in Synthetic(size, seed).blocks(0, size):
        digest.update(block)
    return digest.hexdigest()
