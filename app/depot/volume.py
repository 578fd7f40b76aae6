"""The storage as a whole: whether it is usable, and how many bytes are used and free."""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.services import storages

MARK = Path("depot", "mark")
"""The file that identifies a storage."""
_PATIENCE = 2.0
"""Seconds that a storage, which may be remote, has to answer."""


class VolumeAway(Exception):
    """The storage can't be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the file system that the storage is on, in bytes."""

    used: int
    free: int


class Volume:
    """The folder that holds the models. `writes`: whether this process needs to write.

    With a `database`, the folder must hold the mark that the database knows: an empty folder in place of a failed
    mount is not the storage.
    """

    def __init__(self, root: Path, *, writes: bool, database: Database | None = None) -> None:
        self._root = root
        self._writes = writes
        self._database = database
        self._mark: UUID | None = None
        self._looking: asyncio.Future[tuple[Usage, UUID | None]] | None = None

    async def look(self) -> Usage:
        """Return the usage. Raises `VolumeAway`."""
        # A storage that hangs blocks one thread, not one per call.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
        known = await self._known()
        try:
            async with asyncio.timeout(_PATIENCE):
                usage, mark = await asyncio.shield(self._looking)
        except TimeoutError:
            reason = f"it did not answer within {_PATIENCE:.0f} seconds"
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
        else:
            if known and mark != known:
                raise VolumeAway(not_the_storage(known, mark))
            return usage
        raise VolumeAway(f"The storage can't be used: {reason}. Look at what is mounted at DEPOT_STORAGE.")

    async def read(self, path: Path, most: int) -> bytes | None:
        """Return a file's first `most` bytes; None if they can't be read now."""
        try:
            await self.look()
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.to_thread(_beginning, path, most)
        except (VolumeAway, TimeoutError, OSError):
            return None

    async def lacks(self, model_id: UUID) -> bool:
        """Return whether the folder of a published model is gone. Raises `VolumeAway`.

        False until a worker has checked the storage: before, it is not known to be the right one.
        """
        if await self._known() is None:
            return False
        await self.look()
        try:
            async with asyncio.timeout(_PATIENCE):
                return not await asyncio.to_thread((self._root / "models" / str(model_id)).is_dir)
        except TimeoutError:
            raise VolumeAway("The storage did not answer in time. Look at what is mounted at DEPOT_STORAGE.") from None

    async def _known(self) -> UUID | None:
        """Return the mark that the database knows; the last one read while it is unreachable."""
        if self._database is not None:
            try:
                async with self._database.read(within=_PATIENCE) as connection:
                    self._mark = (await storages.known(connection)).mark
            except DatabaseUnreachable:
                pass
        return self._mark

    def _look(self) -> tuple[Usage, UUID | None]:
        if self._writes and not os.access(self._root, os.W_OK | os.X_OK):
            raise PermissionError(0, "no permission to write")
        usage = shutil.disk_usage(self._root)
        return Usage(usage.total - usage.free, usage.free), read_mark(self._root)


def read_mark(root: Path) -> UUID | None:
    """Return the mark of the storage at `root`, if it has one. Raises `OSError`."""
    try:
        return UUID((root / MARK).read_text().strip())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def not_the_storage(known: UUID, found: UUID | None) -> str:
    """Return the message for another mark, or none, in place of the one that the database knows."""
    what = f"the mark of another one, {found}" if found else "no mark"
    return (
        f"DEPOT_STORAGE is not the storage of this depot: {MARK} there holds {what}, and the database knows {known}. "
        "Look whether it is mounted. If it was replaced on purpose, run `modeldepot storage accept`."
    )


def _beginning(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
