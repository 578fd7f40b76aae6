"""The storage as a whole: whether it can be used, and how much of it is."""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 2.0
"""Seconds that a storage, which may be far away, has to answer."""


class VolumeAway(Exception):
    """The storage can't be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the file system that the storage is on, in bytes."""

    used: int
    free: int


class Volume:
    """The folder that models are kept in. `writes` tells whether this process needs to."""

    def __init__(self, root: Path, *, writes: bool) -> None:
        self._root = root
        self._writes = writes
        self._looking: asyncio.Future[Usage] | None = None

    async def look(self) -> Usage:
        """Raises `VolumeAway`."""
        # A storage that hangs keeps one thread, not one for each look.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            reason = f"it did not answer within {_PATIENCE:.0f} seconds"
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
        raise VolumeAway(f"The storage can't be used: {reason}. Look at what is mounted at DEPOT_STORAGE.")

    async def read(self, path: Path, most: int) -> bytes | None:
        """A file's first `most` bytes; null where they can't be read now."""
        try:
            await self.look()
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.to_thread(_beginning, path, most)
        except (VolumeAway, TimeoutError, OSError):
            return None

    def _look(self) -> Usage:
        if self._writes and not os.access(self._root, os.W_OK | os.X_OK):
            raise PermissionError(0, "no permission to write")
        usage = shutil.disk_usage(self._root)
        return Usage(usage.total - usage.free, usage.free)


def _beginning(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
