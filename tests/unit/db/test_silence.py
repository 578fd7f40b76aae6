"""A PostgreSQL that says nothing any more, as behind a firewall that drops what it forgot: waited for, but not for ever."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import text

from app.db import session
from app.db.errors import DatabaseUnreachable
from app.db.session import PersistentReader, Reader, open_database
from tests.by_hand import plain

Opened = Callable[[], AbstractAsyncContextManager[Reader]]


async def _backend(opened: Opened) -> int:
    """The process that answers."""
    async with opened() as connection:
        pid: int = (await plain(connection).execute(text("SELECT pg_backend_pid()"))).scalar_one()
        return pid


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_silent_connection_is_given_up_and_replaced(database_url: str) -> None:
    database = open_database(database_url, pool_size=1, statement_timeout=1.0)
    kept = PersistentReader(database)
    ways: list[Opened] = [kept.read, database.read, database.begin]
    silent = [await _backend(opened) for opened in ways]
    for pid in silent:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*map(_backend, ways), return_exceptions=True)
            assert all(isinstance(answer, DatabaseUnreachable) for answer in answers), answers
            assert not {await _backend(opened) for opened in ways} & set(silent)
    finally:
        for pid in silent:
            os.kill(pid, signal.SIGCONT)
    await kept.close()
    await database.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_is_frozen_in_a_transaction_keeps_nothing_from_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_FROZEN", 0.2)
    frozen, other = open_database(database_url), open_database(database_url)
    lock, taken = text("SELECT pg_advisory_xact_lock(1)"), []

    async def freeze() -> None:
        async with frozen.begin() as connection:
            await plain(connection).execute(lock)
            async with asyncio.timeout(20), other.begin() as theirs:
                await plain(theirs).execute(lock)
                taken.append(True)
            await plain(connection).execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnreachable):
        await freeze()
    assert taken
    assert await _backend(frozen.begin)
    await frozen.close()
    await other.close()
