"""A file beside SQLite's database that takes up space, to be given up when the disk is full.

A delete frees space, but must be written down first, and so must all that its worker does. Without some space that
nothing else could have taken, a full disk could not be emptied by a depot's own means.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SIZE = 16 << 20
_SPARE = 4 * _SIZE
"""Bytes that must be free for it to be made, so that it does not fill the disk itself."""


@dataclass(frozen=True, slots=True)
class Ballast:
    """The ballast of one database. All of it may be called again, by several processes at a time."""

    path: Path

    def keep(self) -> None:
        """Make it, unless it is there or there is little space."""
        with suppress(OSError):
            if self.path.exists() or shutil.disk_usage(self.path.parent).free < _SPARE:
                return
            making = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            try:
                # Written, not allocated only: a file system that compresses or shares would give nothing back.
                making.write_bytes(os.urandom(_SIZE))
                making.replace(self.path)
            finally:
                making.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Remove it. False if there was none."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
