"""Removes leftovers of deleted models from the storage, and reports differences between storage and rows.

One worker does this hourly. It removes little, and only with proof: a published folder only if the database has the
successful delete-model of that model, and then to the trash, from which `modeldepot storage restore` restores it for
some days. Partial files of a model that the database does not know are removed once they were unchanged for as long,
and so are those of a model that is ready: a process may have written them that woke up too late, or a repair that failed.
If there are no models at all, or more than a few would be removed at once, a restore went wrong: nothing is removed,
and /readyz, the log and the metrics report it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from app.db.session import Database
from app.depot.volume import VolumeAway
from app.domain.errors import TryAgain
from app.services import holdings, storages
from app.storage.base import Store
from app.storage.manifests import Manifest
from worker.maintenance.marking import meet

_EVERY = 3600.0
"""Seconds between two rounds, over all workers."""
_FEW = 3
"""Most folders that one round removes."""
_SLICE = 200
"""Ready models that are checked at a time, before other work gets its turn."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """The models on the storage, by place."""

    published: set[UUID]
    arriving: set[UUID]
    linked: set[UUID]
    """Models that links for engines point to, whether their folders exist or not."""


async def tidy(database: Database, storage: Store, *, every: float = _EVERY) -> None:
    """Do a round if one is due. Safe at any time, even while other workers write."""
    async with database.begin() as connection:
        if not await storages.begin_tidying(connection, every=every):
            return
    try:
        await meet(database, storage)
        # Files first: a row that is missing afterwards will not appear later.
        found = await asyncio.to_thread(look, storage)
        complaints = [await _remove_leftovers(database, storage, found), await _tell_lost(database, storage)]
        await asyncio.to_thread(storage.empty_trash, time.time())
        await _write_manifests(database, storage)
    except (VolumeAway, OSError) as error:
        log.warning("the storage can't be tidied: look at it", error=str(error))
        return
    complaint = " ".join(filter(None, complaints))
    async with database.begin() as connection:
        await storages.complain(connection, complaint)
    if complaint:
        log.error("housekeeping removes nothing until somebody has looked", complaint=complaint)


def look(storage: Store) -> Found:
    """Return the models on the storage. Raise `OSError`."""
    return Found(storage.published_ids(), storage.arriving_ids(), storage.linked_ids())


async def _remove_leftovers(database: Database, storage: Store, found: Found) -> str:
    """Remove leftovers of deleted models. Return the reason if nothing may be removed, else an empty string."""
    ids = list(found.published | found.arriving | found.linked)
    async with database.read() as connection:
        missing, deleted = await holdings.missing(connection, ids)
        at_rest = await holdings.at_rest(connection, found.arriving)
        empty = await holdings.is_empty(connection)
    if empty and found.published:
        return (
            f"The database has no model, and the storage holds {len(found.published)}. If a restore went wrong, do it "
            "again; if the database is lost, run `modeldepot storage adopt --all`; if the files are not wanted, "
            "`modeldepot storage prune`."
        )
    published, arriving = found.published & deleted, found.arriving & deleted
    old = await asyncio.to_thread(_untouched, storage, (found.arriving & missing) - deleted)
    if len(published) + len(arriving) + len(old) > _FEW:
        return (
            f"The storage holds what is left of {len(published | arriving | old)} models that the database does not "
            "have, more than is removed at once. If a restore went wrong, do it again; else `modeldepot storage check` "
            "lists them, and `modeldepot storage prune` removes them."
        )
    done = await asyncio.to_thread(_untouched, storage, at_rest)
    for model_ids, remove in (
        (published, storage.take_away),
        (arriving | old | done, storage.discard_incoming),
        ((found.linked & missing) - found.published, storage.unlink),
    ):
        await asyncio.to_thread(_remove, model_ids, remove)
    return ""


def _remove(model_ids: set[UUID], remove: Callable[[UUID], None]) -> None:
    for model_id in model_ids:
        try:
            remove(model_id)
        except TryAgain:  # A worker that lost its lease may still write it: retry in the next round.
            continue
        except OSError as error:
            log.warning("a leftover can't be removed: look at it", model_id=str(model_id), error=error.strerror)
        else:
            log.info("removed what was left of a model that is gone", model_id=str(model_id), what=remove.__name__)


def _untouched(storage: Store, model_ids: set[UUID]) -> set[UUID]:
    """Return the models whose partial files were all unchanged for as long as the trash is kept."""
    until = time.time() - storage.keep
    return {model_id for model_id in model_ids if storage.last_change(model_id) < until}


async def _tell_lost(database: Database, storage: Store) -> str:
    """Put ready models without a folder in error. Return the reason if that is not done, else an empty string."""
    lost: list[UUID] = []
    seen = 0
    async for ids in ready(database, settled=True):
        seen += len(ids)
        lost += await asyncio.to_thread(without_folder, storage, ids)
    if len(lost) == seen > _FEW:
        return (
            f"Not one of the {seen} models that are ready has its folder in the storage: look at what is mounted there."
        )
    for model_id in lost:
        async with database.begin() as connection:
            if await holdings.lose(connection, model_id):
                log.warning("the folder of a ready model is gone", model_id=str(model_id))
    return ""


async def ready(database: Database, *, settled: bool) -> AsyncIterator[Sequence[UUID]]:
    """Yield all ids of `holdings.ready`, `_SLICE` at a time."""
    last = None
    while True:
        async with database.read() as connection:
            ids = await holdings.ready(connection, after=last, limit=_SLICE, settled=settled)
        if not ids:
            return
        yield ids
        last = ids[-1]


def without_folder(storage: Store, model_ids: Sequence[UUID]) -> list[UUID]:
    return [model_id for model_id in model_ids if not storage.has(model_id)]


async def _write_manifests(database: Database, storage: Store) -> None:
    """Write missing manifests, of ready models that an older version published."""
    have = await asyncio.to_thread(storage.recorded_ids)
    async for ids in ready(database, settled=True):
        async with database.read() as connection:
            found = [await holdings.described(connection, model_id) for model_id in ids if model_id not in have]
        for model, files in [each for each in found if each]:
            await asyncio.to_thread(storage.record, Manifest.of(model, model.commit, files))
