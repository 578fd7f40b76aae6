"""Changes a depot to another storage that holds its models: a copy of the former one, or one that somebody accepted.

`modeldepot storage copy` marks a complete copy as one. A worker that starts on it makes the database know it in place of
the former storage, with the models' paths. What runs on the former one is refused from then on, as on any other storage.
"""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import structlog

from app.db.session import Database
from app.depot.volume import VolumeAway, mark_of_copy, told
from app.domain.errors import NotFound
from app.services import audit, holdings, models, storages
from app.storage.base import Store
from app.storage.names import label_of
from worker.maintenance.orphans import ready, without_folder

log = structlog.get_logger()


async def change_to_copy(database: Database, storage: Store) -> None:
    """If the storage is a copy of the one that the database knows, make the database know it instead.

    Raises `VolumeAway` if a ready model is missing there.
    """
    async with database.read() as connection:
        known = (await storages.known(connection)).mark
    try:
        mark = await asyncio.to_thread(storage.mark)
        if known is None or mark is None or mark != mark_of_copy(known):
            return
        there, missing = await _look(database, storage)
    except OSError as error:
        raise VolumeAway(f"The storage can't be used: {told(error)}. {storage.advice}") from error
    if missing:
        raise VolumeAway(
            f"DEPOT_STORAGE is a copy of this depot's storage that lacks {len(missing)} of its models, such as "
            f"{missing[0]}. Run `modeldepot storage copy` again, with the former DEPOT_STORAGE, then restart the "
            "workers; or go on without them by `modeldepot storage accept`."
        )
    await _know(database, storage, mark, there, "change-storage")
    log.info("the depot changed to a copy of its storage", storage=storage.location, models=len(there))


async def accept(database: Database, storage: Store) -> tuple[UUID, int]:
    """Make the database know the mounted storage, whatever it knew before.

    Return its mark, and the number of ready models that are not there. Raises `OSError`.
    """
    mark = await asyncio.to_thread(storage.mark)
    if mark is None:
        mark = uuid4()
        await asyncio.to_thread(storage.write_mark, mark)
    there, missing = await _look(database, storage)
    await _know(database, storage, mark, there, "accept-storage")
    return mark, len(missing)


async def _know(database: Database, storage: Store, mark: UUID, there: Sequence[UUID], action: str) -> None:
    """Make the database know a storage by its mark, with the paths of the models that are there."""
    paths = await _paths(database, storage, there)
    async with database.begin() as connection:
        await storages.learn(connection, mark, instead=True)
        await holdings.move(connection, paths)
        await audit.record(connection, [audit.by_shell(action)], audit.ACCEPTED)


async def _look(database: Database, storage: Store) -> tuple[Sequence[UUID], Sequence[UUID]]:
    """Return the ready models that are there, and those that are not."""
    there: list[UUID] = []
    missing: list[UUID] = []
    async for ids in ready(database, settled=False):
        lost = await asyncio.to_thread(without_folder, storage, ids)
        missing += lost
        there += [model_id for model_id in ids if model_id not in lost]
    return there, missing


async def _paths(database: Database, storage: Store, model_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    paths = {}
    for model_id in model_ids:
        async with database.read() as connection:
            try:
                model = await models.selection(connection, model_id)
            except NotFound:
                continue
        paths[model_id] = storage.path(label_of(model), model_id)
    return paths
