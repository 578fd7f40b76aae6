"""A kept connection: the same one again, unless something went wrong with it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.session import Database, PersistentReader, open_database
from tests.by_hand import plain

_ONE = text("SELECT 1")


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


async def _used(kept: PersistentReader) -> object:
    """The connection that answered."""
    async with kept.read() as connection:
        assert (await plain(connection).execute(_ONE)).scalar_one() == 1
        return await _driver(plain(connection))


async def test_it_is_the_same_again_and_again(database: Database) -> None:
    kept = PersistentReader(database)
    assert await _used(kept) is await _used(kept)
    await kept.close()


async def test_one_on_which_something_failed_is_not_used_again(database: Database) -> None:
    kept = PersistentReader(database)
    with pytest.raises(DBAPIError):
        async with kept.read() as connection:
            await plain(connection).execute(text("SELECT FROM WHERE"))
    await _used(kept)
    with pytest.raises(ZeroDivisionError):
        async with kept.read() as connection:
            raise ZeroDivisionError
    await _used(kept)
    await kept.close()


async def test_it_is_for_one_at_a_time(database: Database) -> None:
    kept = PersistentReader(database)
    async with kept.read():
        second = asyncio.create_task(_used(kept))
        await _answers(database)
        assert not second.done()
    await second
    await kept.close()


async def test_a_pool_of_one_has_another_for_everybody_else(database_url: str) -> None:
    database = open_database(database_url, pool_size=1)
    kept = PersistentReader(database)
    async with kept.read():
        await _answers(database)
    await _answers(database)
    await kept.close()
    await database.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_one_that_the_server_ended_is_replaced(database: Database) -> None:
    kept = PersistentReader(database)
    async with kept.read() as connection:
        backend = (await plain(connection).execute(text("SELECT pg_backend_pid()"))).scalar_one()
        driver = await _driver(plain(connection))
    ended = asyncio.Event()
    driver.add_termination_listener(lambda _: ended.set())
    async with database.begin() as other:
        await other.execute(text("SELECT pg_terminate_backend(:backend, 5000)"), {"backend": backend})
    await ended.wait()
    assert await _used(kept) is not driver
    await kept.close()


async def _answers(database: Database) -> None:
    async with database.read() as connection:
        assert (await plain(connection).execute(_ONE)).scalar_one() == 1
