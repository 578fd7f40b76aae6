"""Removes what is left on the storage of models that are gone from the database.

A missing row alone proves nothing: the database may be new, restored in part, or another depot's. Published files are
removed only of models whose delete succeeded, and only a few at a time: a delete removes them itself, so what is left is
what a worker that died or was paused has put there. What arrived of unknown models is kept for a week.
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

_FEW = 3
"""Models whose published files are removed in one walk; more are a sign that something else is wrong."""
_UNKNOWN_KEPT = 7 * 86_400.0
"""Seconds without a change after which what arrived of a model that the database does not know is removed."""

log = structlog.get_logger()


async def tidy(database: Database, storage: Storage) -> None:
    """Safe at any time, also while other workers write."""
    # The files first: a row that is missing afterwards is missing for good.
    found = await asyncio.to_thread(_look, storage)
    if found:
        async with database.read() as connection:
            gone, deleted = await models.gone(connection, found)
        await asyncio.to_thread(_remove, storage, gone, deleted)


def _look(storage: Storage) -> list[UUID]:
    try:
        storage.empty_trash()
        return list(storage.model_ids())
    except OSError as error:
        log.warning("the storage can't be tidied: look at it", error=error.strerror)
        return []


def _remove(storage: Storage, gone: Collection[UUID], deleted: Collection[UUID]) -> None:
    published = {model_id for model_id in deleted if storage.published(model_id).exists()}
    if len(published) > _FEW:
        log.error(
            "nothing is removed: the published files of many models that were deleted are still there. Look at whether "
            "the database and the storage belong together",
            models=len(published),
        )
        return
    for model_id in gone:
        if model_id not in deleted and storage.seconds_untouched(model_id) < _UNKNOWN_KEPT:
            continue
        try:
            # A worker that lost its lease may still be writing it: at the next look then.
            with suppress(TryAgain):
                if storage.remove_orphan(model_id, published=model_id in deleted):
                    log.info("removed what was left of a model that is gone", model_id=str(model_id))
        except OSError as error:
            log.warning("an orphan can't be removed: look at it", model_id=str(model_id), error=error.strerror)
