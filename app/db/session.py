"""Connections to the database: transactions for writing, autocommit for reading.

PostgreSQL serves several machines, SQLite one; the same statements run on both.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, TypeVarTuple, cast

import asyncpg
from sqlalchemy import CompoundSelect, CursorResult, Select, event, make_url
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.ballast import Ballast
from app.db.clock import SQLITE_CLOCK
from app.db.errors import DatabaseUnreachable, translated

_DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
_LOCK_WAIT = 10.0
"""Seconds that a statement waits for SQLite's write lock."""
_SILENCE = 2.0
"""Seconds that PostgreSQL has, after the statement timeout, to report it; then the connection counts as dead."""
_FROZEN = 10.0
"""Seconds after which PostgreSQL ends a transaction in which nothing is asked, and with it the connection: a process that
is frozen in between would keep the rows that it locked from all others."""
_KEPT = 1
"""Connections that a process keeps for itself, besides those in the pool."""


def async_url(address: str) -> URL:
    """Return `address` with the driver this project uses. Raises `ValueError`, which says what is accepted."""
    accepted = "it must look like postgresql://user:password@host/name or sqlite:////absolute/path.sqlite3"
    try:
        url = make_url(address)
    except ArgumentError:
        raise ValueError(accepted) from None
    if url.drivername not in _DRIVERS:
        raise ValueError(accepted)
    return url.set(drivername=_DRIVERS[url.drivername])


Columns = TypeVarTuple("Columns")
Result = TypeVar("Result")
Writer = AsyncConnection
"""A transaction. What takes one writes, or locks rows."""


class Reader(Protocol):
    """A connection for SELECTs; a `Writer` is one, too. What takes one only reads."""

    @property
    def dialect(self) -> Dialect: ...

    async def execute(
        self, statement: Select[*Columns] | CompoundSelect[*Columns], parameters: Mapping[str, Any] | None = None
    ) -> CursorResult[*Columns]: ...


@dataclass(frozen=True, slots=True)
class Database:
    """One database. `begin()` gives a transaction, `read()` a connection in autocommit mode.

    Both raise `DatabaseUnreachable`, also when the block takes longer than `within` seconds.
    """

    writer: AsyncEngine
    reader: AsyncEngine
    ballast: Ballast | None = None
    """SQLite only: PostgreSQL's operator looks after its disk."""

    @asynccontextmanager
    async def begin(self, *, within: float | None = None) -> AsyncIterator[Writer]:
        """Open a transaction: committed when the block ends, rolled back when it raises."""
        with translated():
            async with asyncio.timeout(within), self.writer.begin() as connection:
                yield connection

    def make_room(self, error: DatabaseUnreachable) -> bool:
        """Remove the ballast if `error` says that the disk is full. Return True if a retry may succeed."""
        return error.is_full and self.ballast is not None and self.ballast.give_up()

    @asynccontextmanager
    async def read(self, *, within: float | None = None) -> AsyncIterator[Reader]:
        """Open a connection for SELECTs. Two statements on it may see different states."""
        with translated():
            async with asyncio.timeout(within), self.reader.connect() as connection:
                yield connection

    async def inspect(self, look: Callable[[Connection], Result], *, within: float | None = None) -> Result:
        """Let a function that is not asynchronous read the schema."""
        with translated():
            async with asyncio.timeout(within), self.reader.connect() as connection:
                return await connection.run_sync(look)

    async def close(self) -> None:
        await self.writer.dispose()
        await self.reader.dispose()


class PersistentReader:
    """One connection for SELECTs that stays open between uses, for one caller at a time.

    Taking a connection from a pool and returning it costs as much as a small SELECT.
    """

    def __init__(self, database: Database) -> None:
        self._reader = database.reader
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        """The driver's own connection object."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Reader]:
        """Open a connection as `Database.read()` does. It is not used again after an error."""
        with translated():
            async with self._turn:
                if self._connection is None or _has_hung_up(self._driver):
                    await self._let_go()
                    connection = await self._reader.connect()
                    self._driver = (await connection.get_raw_connection()).driver_connection
                else:
                    connection, self._connection = self._connection, None
                async with AsyncExitStack() as stack:
                    stack.push_async_exit(connection)
                    yield connection
                    stack.pop_all()
                self._connection = connection

    async def close(self) -> None:
        async with self._turn:
            await self._let_go()

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def open_database(
    address: str, *, pool_size: int = 10, statement_timeout: float = 30.0, patience: float = 5.0
) -> Database:
    """Return a database that connects at its first use.

    For PostgreSQL only, in seconds: `statement_timeout`, and the `patience` for one of the pool's connections to be free
    or a new one to be made.
    """
    url = async_url(address)
    if url.get_backend_name() == "sqlite":
        # One writer per process: SQLite allows one per file, and our own queue is fairer than SQLite's lock.
        words: dict[str, Any] = {"timeout": _LOCK_WAIT, "factory": _File}
        writer = create_async_engine(url, pool_size=1, max_overflow=0, connect_args=words)
        reader = create_async_engine(url, pool_size=pool_size, isolation_level="AUTOCOMMIT", connect_args=words)
        _prepare_sqlite(writer, write=True)
        _prepare_sqlite(reader, write=False)
        file = url.database
        return Database(writer, reader, Ballast(Path(f"{file}.ballast")) if file and file != ":memory:" else None)
    server_settings = {
        "application_name": "modeldepot",
        "statement_timeout": str(int(statement_timeout * 1000)),
        "idle_in_transaction_session_timeout": str(int(_FROZEN * 1000)),
    }
    common: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": patience,
        "connect_args": {
            "server_settings": server_settings,
            "timeout": patience,
            "command_timeout": statement_timeout + _SILENCE,
        },
    }
    writer = create_async_engine(url, **common)
    # A connection in autocommit mode has nothing to reset when it returns to the pool.
    reader = create_async_engine(
        url, isolation_level="AUTOCOMMIT", pool_reset_on_return=None, **common | {"max_overflow": _KEPT}
    )
    for engine in (writer, reader):
        event.listen(engine.sync_engine, "checkout", _replace_closed)
    return Database(writer, reader)


class _File(sqlite3.Connection):
    """A connection to SQLite that rolls back when it is closed.

    Without this, a transaction whose task is cancelled while a statement runs keeps the file's lock as long as
    anything, such as a traceback, refers to the statement's cursor.
    """

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def _replace_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool reconnect if the server closed the connection. `pool_pre_ping` would cost half a request."""
    if _has_hung_up(connection.driver_connection):
        raise DisconnectionError


def _has_hung_up(driver: Any) -> bool:
    return isinstance(driver, asyncpg.Connection) and driver.is_closed()


def _prepare_sqlite(engine: AsyncEngine, *, write: bool) -> None:
    def on_connect(connection: Any, _record: object) -> None:
        # The driver's implicit BEGIN would be deferred, and a deferred transaction can't wait for the write lock.
        connection.isolation_level = None
        connection.create_function(SQLITE_CLOCK, 0, time.time)
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", cast("Callable[..., None]", on_connect))
    if write:
        event.listen(engine.sync_engine, "begin", on_begin)
