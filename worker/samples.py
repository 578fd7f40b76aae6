"""Records, once a minute, what this worker fetched and how full the storage is."""

import asyncio
import time

import structlog

from app.db.errors import DatabaseUnreachable
from app.db.session import Database
from app.depot.volume import Volume, VolumeAway
from app.services import samples
from app.storage.base import Space
from worker.metrics import WorkerMetrics

_MOST_MINUTES = 60
"""Among which is divided what could not be recorded before."""

log = structlog.get_logger()


async def record(database: Database, volume: Volume, metrics: WorkerMetrics, *, every: float = samples.MINUTE) -> None:
    """Record until cancelled. What was fetched since the last record is then lost."""
    recorded, since = 0, time.monotonic()
    while True:
        fetched, now = metrics.fetched, time.monotonic()
        minutes = min(max(round((now - since) / samples.MINUTE), 1), _MOST_MINUTES)
        try:
            await _record(database, volume, fetched - recorded, minutes)
        except DatabaseUnreachable as error:
            log.warning("figures are recorded later", reason=str(error), error=error.cause)
        else:
            recorded, since = fetched, now
        await asyncio.sleep(every)


async def _record(database: Database, volume: Volume, fetched: int, minutes: int) -> None:
    try:
        space = await volume.look()
    except VolumeAway:
        space = Space(None, None)
    async with database.begin() as connection:
        # An object store tells nobody how full it is.
        used = space.used if volume.links else await samples.size_of_models(connection)
        await samples.add(connection, fetched=fetched, used=used, free=space.free, minutes=minutes)
