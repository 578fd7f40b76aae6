"""A durable record of which blocks of a partial file are on disk.

A line with the number of a complete block, or that number and a count of bytes from the block's beginning, each written
only after the bytes were synced.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from worker.download.blocks import Blocks


class Journal:
    """The record of one file. `open` it before `append`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def load(self, blocks: Blocks) -> None:
        """Note in `blocks` what an earlier process recorded."""
        with suppress(FileNotFoundError):
            # The last line may be torn: use complete ones only.
            for line in self._path.read_text().split("\n")[:-1]:
                block, begun, count = line.partition(" ")
                if block.isdigit() and int(block) < blocks.count and (count.isdigit() or not begun):
                    blocks.note(int(block), int(count) if begun else blocks.length(int(block)))

    def open(self, *, anew: bool) -> None:
        """Open it for appending; `anew`: empty."""
        if anew:
            self.remove()
        with ExitStack() as opened:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            opened.callback(os.close, handle)
            # Text appended to a torn line would change its number.
            lines = os.pread(handle, os.fstat(handle).st_size, 0)
            os.ftruncate(handle, lines.rfind(b"\n") + 1)
            opened.pop_all()
        self._handle = handle

    def append(self, blocks: Blocks, reached: Iterable[tuple[int, int]]) -> None:
        """Record how many bytes of each given block are on disk."""
        assert self._handle is not None  # noqa: S101  # opened before
        lines = (f"{block}\n" if count == blocks.length(block) else f"{block} {count}\n" for block, count in reached)
        os.write(self._handle, "".join(lines).encode())

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
