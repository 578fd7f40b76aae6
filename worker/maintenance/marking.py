"""Checks before any file access, by a mark in both, that the mounted storage is the one the database knows.

The first worker on a new storage writes the mark. The first one on a new database adopts the mark that it finds.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import structlog

from app.db.session import Database
from app.depot.volume import VolumeAway, not_the_storage, told
from app.domain.errors import Reason, TryAgain
from app.services import holdings, storages
from app.storage.base import Store, StoreAway

_LOOKED_FOR = 100
"""Number of ready models checked: at least one must have its folder before a storage is marked anew."""

log = structlog.get_logger()


async def check_storage(database: Database, storage: Store) -> None:
    """Raise `TryAgain` if the storage is not the one that the database knows, or can't be used; `StoreAway` as it is."""
    try:
        await meet(database, storage)
    except VolumeAway as error:
        if isinstance(error.__cause__, StoreAway):
            raise error.__cause__ from None
        raise TryAgain(Reason.FAULT, str(error)) from None


async def meet(database: Database, storage: Store) -> None:
    """Check the storage's mark against the database's, set a missing one, and make the storage's folders.

    Nothing is written if it is the wrong storage. Raises `VolumeAway` or `DatabaseUnreachable`.
    """
    async with database.read() as connection:
        known = (await storages.known(connection)).mark
    try:
        found = await asyncio.to_thread(storage.mark)
        if known is None:
            await _introduce(database, storage, found)
        elif found != known:
            raise VolumeAway(not_the_storage(known, found))
        await asyncio.to_thread(storage.complete)
    except OSError as error:
        raise VolumeAway(f"The storage can't be used: {told(error)}. {storage.advice}") from error


async def _introduce(database: Database, storage: Store, found: UUID | None) -> None:
    async with database.read() as connection:
        some = await holdings.ready(connection, limit=_LOOKED_FOR, settled=False)
    if some and not await asyncio.to_thread(_has_any, storage, some):
        raise VolumeAway(
            f"DEPOT_STORAGE is not the storage of this depot: {storage.location} has the folder of no model that is ready. "
            "Look whether it is mounted. If its files are lost, run `modeldepot storage accept`."
        )
    await asyncio.to_thread(storage.prepare)
    mark = found or uuid4()
    if not found:
        await asyncio.to_thread(storage.write_mark, mark)
    async with database.begin() as connection:
        known = await storages.learn(connection, mark)
    if known != mark:
        if found:
            raise VolumeAway(not_the_storage(known, found))
        # If several workers start at once, the mark that the database stored first wins.
        await asyncio.to_thread(storage.write_mark, known)
    log.info("the database knows the storage from here on", mark=str(known))


def _has_any(storage: Store, model_ids: Sequence[UUID]) -> bool:
    return any(storage.has(model_id) for model_id in model_ids)
