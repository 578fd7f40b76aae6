"""A transaction whose task is cancelled, at whatever moment, leaves nothing behind that holds others up."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from app.db.session import Database, open_database
from app.db.tables import OperationRow
from tests import by_hand

CANCELLED, STEP = 400, 1e-5
"""How often, and seconds that each time waits longer than the one before."""


@pytest.fixture
def nothing_is_tidied_up_by_chance() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("nothing_is_tidied_up_by_chance")
async def test_a_cancelled_transaction_holds_no_lock(database: Database, database_url: str) -> None:
    await by_hand.create(database, "acme/model")
    other = open_database(database_url)
    for number in range(CANCELLED):
        task = asyncio.create_task(_write(database))
        await asyncio.sleep(number * STEP)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if number % 5 == 0:
            async with asyncio.timeout(8):
                await _write(other)
    await other.close()
    await database.close()
    # A connection that was cancelled while it opened ends in its thread, which reports to this test's loop.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 60)


async def _write(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(update(OperationRow).values(attempts=1).returning(OperationRow.id))
        await connection.execute(select(OperationRow.id))
