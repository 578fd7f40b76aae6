"""The storage as a whole: whether it is usable, and how many bytes are used and free."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid5

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.services import storages
from app.storage.base import Signed, Space, Store
from app.storage.locations import is_bucket

_PATIENCE = 2.0
"""Seconds that a storage, which may be remote, has to answer."""


class VolumeAway(Exception):
    """The storage can't be used. The message says what to do."""


class Volume:
    """The folder that holds the models. `writes`: whether this process needs to write.

    With a `database`, the folder must hold the mark that the database knows: an empty folder in place of a failed
    mount is not the storage.
    """

    def __init__(self, store: Store, *, writes: bool, database: Database | None = None) -> None:
        self._store = store
        self._writes = writes
        self._database = database
        self._mark: UUID | None = None
        self._looking: asyncio.Future[tuple[Space, UUID | None]] | None = None
        self._due = 0.0
        """Until when, by the loop's clock, it may take."""

    @property
    def links(self) -> bool:
        """Whether files that models share may be kept once: never in a bucket."""
        return not is_bucket(self._store.location)

    async def look(self) -> Space:
        """Return the usage. Raises `VolumeAway`."""
        # A storage that hangs blocks one thread, not one per call; who asks of it once more is told at once.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
            # Who asked may be gone by then: asyncio would log an error that nobody takes.
            self._looking.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._due = asyncio.get_running_loop().time() + _PATIENCE
        known = await self._known()
        try:
            async with asyncio.timeout_at(self._due):
                usage, mark = await asyncio.shield(self._looking)
        except TimeoutError:
            reason = f"it did not answer within {_PATIENCE:.0f} seconds"
        except OSError as error:
            reason = told(error)
        else:
            if known and mark != known:
                raise VolumeAway(not_the_storage(known, mark))
            return usage
        raise VolumeAway(f"The storage can't be used: {reason}. {self._store.advice}")

    async def read(self, model_id: UUID, path: str, most: int) -> bytes | None:
        """Return a published file's first `most` bytes; None if they can't be read now."""
        try:
            await self.look()
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.to_thread(self._read, model_id, path, most)
        except (VolumeAway, TimeoutError, OSError):
            return None

    async def sign(self, model_id: UUID, paths: Sequence[str]) -> Signed | None:
        """Return addresses of published files; None if the storage gives none. Raises `VolumeAway`."""
        await self.look()
        try:
            return await asyncio.to_thread(self._store.sign, model_id, paths)
        except OSError as error:
            raise VolumeAway(f"The storage can't be used: {told(error)}. {self._store.advice}") from error

    async def lacks(self, model_id: UUID) -> bool:
        """Return whether the folder of a published model is gone. Raises `VolumeAway`.

        False until a worker has checked the storage: before, it is not known to be the right one.
        """
        if await self._known() is None:
            return False
        await self.look()
        try:
            async with asyncio.timeout(_PATIENCE):
                return not await asyncio.to_thread(self._store.has, model_id)
        except TimeoutError:
            raise VolumeAway(f"The storage did not answer in time. {self._store.advice}") from None

    async def _known(self) -> UUID | None:
        """Return the mark that the database knows; the last one read while it is unreachable."""
        if self._database is not None:
            try:
                async with self._database.read(within=_PATIENCE) as connection:
                    self._mark = (await storages.known(connection)).mark
            except DatabaseUnreachable:
                pass
        return self._mark

    def _read(self, model_id: UUID, path: str, most: int) -> bytes:
        with self._store.open(model_id, path).reader() as file:
            return file.read(most)

    def _look(self) -> tuple[Space, UUID | None]:
        if self._writes:
            self._store.check_writable()
        return self._store.space(), self._store.mark()


def told(error: OSError) -> str:
    """Return what went wrong, to stand in a sentence."""
    text = error.strerror or "unknown error"
    return text[:1].lower() + text[1:]


def mark_of_copy(mark: UUID) -> UUID:
    """Return the mark of a complete copy of the storage that has this mark."""
    return uuid5(mark, "copy")


def not_the_storage(known: UUID, found: UUID | None) -> str:
    """Return the message for another mark, or none, in place of the one that the database knows."""
    if found == mark_of_copy(known):
        return (
            "DEPOT_STORAGE is a copy of this depot's storage. A worker changes to it when it starts, if nothing is "
            "missing: restart all workers with this DEPOT_STORAGE, and look at their logs."
        )
    what = f"the mark of another one, {found}" if found else "no mark"
    return (
        f"DEPOT_STORAGE is not the storage of this depot: it has {what}, and the database knows {known}. "
        "Look whether it is mounted. If it was replaced on purpose, run `modeldepot storage accept`."
    )
