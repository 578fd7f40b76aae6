"""Removes what is left on the storage of models that are gone from the database.

A model's row is there before its first byte and until after its last, so files without a row are nobody's. Published
files are removed only if the database remembers the model: it may be new, and the storage another one's, too.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from uuid import UUID

import structlog

from app.db.session import Database
from app.domain.errors import TryAgain
from app.services import models
from worker.storage import Storage

log = structlog.get_logger()


async def tidy(database: Database, storage: Storage) -> None:
    """Safe at any time, also while other workers write."""
    # The files first: a row that is missing afterwards is missing for good.
    found = await asyncio.to_thread(_look, storage)
    if found:
        async with database.read() as connection:
            gone, remembered = await models.gone(connection, found)
        await asyncio.to_thread(_remove, storage, gone, remembered)


def _look(storage: Storage) -> list[UUID]:
    try:
        storage.empty_trash()
        return list(storage.model_ids())
    except OSError as error:
        log.warning("the storage can't be tidied: look at it", error=error.strerror)
        return []


def _remove(storage: Storage, gone: Collection[UUID], remembered: Collection[UUID]) -> None:
    for model_id in gone:
        try:
            # A worker that lost its lease may still be writing it: at the next look then.
            with suppress(TryAgain):
                if storage.remove_orphan(model_id, published=model_id in remembered):
                    log.info("removed what was left of a model that is gone", model_id=str(model_id))
        except OSError as error:
            log.warning("an orphan can't be removed: look at it", model_id=str(model_id), error=error.strerror)
