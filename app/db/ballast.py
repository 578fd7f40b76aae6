"""A file next to SQLite's database that reserves space. It is removed when the disk is full.

A delete frees space, but it and each step of its worker must first be written to the database. Without reserved space,
a depot with a full disk could not delete its models.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SIZE = 16 << 20
_SPARE = 4 * _SIZE
"""Bytes that must be free before it is created, so that it does not fill the disk itself."""


@dataclass(frozen=True, slots=True)
class Ballast:
    """The ballast of one database. All methods may be called repeatedly, by several processes at a time."""

    path: Path

    def keep(self) -> None:
        """Create the file, unless it exists or there is little space."""
        with suppress(OSError):
            if self.path.exists() or shutil.disk_usage(self.path.parent).free < _SPARE:
                return
            making = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            try:
                # Random bytes: a file system that compresses or shares blocks would free nothing for others.
                making.write_bytes(os.urandom(_SIZE))
                making.replace(self.path)
            finally:
                making.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Remove the file. Return False if there was none."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
