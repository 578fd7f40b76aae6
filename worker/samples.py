"""Records, once a minute, what this worker fetched and how full the storage is."""

import asyncio

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.depot.volume import Volume, VolumeAway
from app.services import samples
from app.storage.base import Space
from worker.metrics import WorkerMetrics

log = structlog.get_logger()


async def record(database: Database, volume: Volume, metrics: WorkerMetrics, *, every: float = samples.MINUTE) -> None:
    """Record until cancelled. What was fetched since the last record is then lost."""
    recorded = 0
    while True:
        fetched = metrics.fetched
        try:
            await _record(database, volume, fetched - recorded)
        except DatabaseUnreachable as error:
            log.warning("figures are recorded later", reason=str(error), error=error.cause)
        else:
            recorded = fetched
        await asyncio.sleep(every)


async def _record(database: Database, volume: Volume, fetched: int) -> None:
    try:
        space = await volume.look()
    except VolumeAway:
        space = Space(None, None)
    async with database.begin() as connection:
        # An object store tells nobody how full it is.
        used = space.used if volume.links else await samples.size_of_models(connection)
        await samples.add(connection, fetched=fetched, used=used, free=space.free)
