"""What the download does with a file that arrives: ranges are written in any order, and hashed in order meanwhile.

`disk.py` keeps the bytes in a file on a local disk, `uploaded.py` sends them on; `partials.py` chooses.
"""

import threading
from collections.abc import Sequence
from typing import Protocol

from worker.download.blocks import Blocks
from worker.download.checksums import Checksum
from worker.download.listing import HubFile


class Partial(Protocol):
    """A file that arrives. Thread-safe. Methods that read or write raise `OSError` if the storage can't be used."""

    @property
    def file(self) -> HubFile: ...
    @property
    def blocks(self) -> Blocks:
        """Which bytes are here. To be read only."""

    @property
    def counted(self) -> int:
        """Bytes that are here, including those in incomplete blocks."""

    @property
    def is_given_up(self) -> bool:
        """Whether no more bytes are needed."""

    def reserve(self, start: int, end: int) -> int:
        """Reserve space for bytes that are about to be fetched. Return up to where; `start` if there is none now.

        `start` is in the first block that is not complete; connections may be so far ahead of the hasher only.
        """

    def write(self, chunks: Sequence[bytes], start: int, end: int) -> int:
        """Write `chunks` at `start`; return how many bytes were not there before. Bytes past `end` are left out.

        Nothing is written after `keep` or `drop`, which may be called at any moment.
        """

    def abandon(self) -> None:
        """Give up the rest of it and wake all waiting threads."""

    def hash(self, stopped: threading.Event) -> Checksum | None:
        """Hash all bytes in order as they arrive. Return None if it was abandoned, or `stopped` meanwhile."""

    def sync(self) -> None:
        """Make what is here durable for the next attempt, as far as that is possible."""

    def keep(self) -> None:
        """Bring the complete file to its place, durably. Its checksum was right."""

    def drop(self) -> None:
        """Remove what arrived."""


def key(file: HubFile) -> str:
    """Return the name of what arrives of a file: equal for equal content."""
    return file.sha256 or file.blob_id
