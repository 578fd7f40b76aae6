"""A worker records what it fetched and how full its storage is, and goes on after a database that was away."""

import asyncio
from pathlib import Path
from typing import Any

from app.db.session import Database
from app.depot.volume import Volume
from app.services import samples
from app.storage.posix import PosixStore
from app.tasks import beside
from tests.processes import BUSY
from worker.metrics import WorkerMetrics
from worker.samples import record


async def test_a_worker_records_bytes_once_and_the_storage_as_it_is(database: Database, tmp_path: Path) -> None:
    volume = Volume(PosixStore(tmp_path), writes=True)
    metrics = WorkerMetrics(volume, 1)
    metrics.arrived(5_000)
    async with asyncio.timeout(10 + BUSY), beside(record(database, volume, metrics, every=0.01)):
        await _until_recorded(database, 5_000)
        metrics.arrived(300)
        rows = await _until_recorded(database, 5_300)
    space = volume._store.space()
    assert space.used is not None
    assert space.free is not None
    assert rows[-1].used + rows[-1].free == space.used + space.free


async def test_a_storage_that_is_away_leaves_a_gap_and_no_wrong_figure(database: Database, tmp_path: Path) -> None:
    volume = Volume(PosixStore(tmp_path / "away"), writes=True)
    metrics = WorkerMetrics(volume, 1)
    metrics.arrived(7)
    async with asyncio.timeout(10 + BUSY), beside(record(database, volume, metrics, every=0.01)):
        rows = await _until_recorded(database, 7)
    assert (rows[-1].used, rows[-1].free) == (None, None)


async def _until_recorded(database: Database, fetched: int) -> list[Any]:
    while True:
        async with database.read() as connection:
            rows = list((await samples.since(connection, 3600.0))[1])
        if sum(row.fetched for row in rows) == fetched:
            return rows
        assert sum(row.fetched for row in rows) < fetched
        await asyncio.sleep(0.01)
