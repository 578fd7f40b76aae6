"""Runs the migrations on the database that is named by `sqlalchemy.url`, or else by DEPOT_DATABASE_URL."""

import asyncio
import os
import time

import asyncpg
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import context
from app.db.metadata import METADATA
from app.db.migrate import DatabaseIsNewer
from app.db.revisions import revisions
from app.db.session import async_url

_MIGRATIONS_LOCK = 0x4D6F_4465_706F
"""PostgreSQL's advisory lock that migrators take: "MoDepo" in ASCII."""
_LOCK_WAIT = 0.5
"""Seconds that a migration waits for a table's lock. All later statements on that table wait behind it meanwhile."""
_PAUSE = 2.0
"""Seconds until it is tried again: those that waited behind it go on."""
_GIVE_UP = 600.0
"""Seconds in all that a migration waits for others' transactions, such as a pg_dump."""

log = structlog.get_logger()


def run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two deployments may start at once: the second waits for the first and then finds nothing to do.
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_MIGRATIONS_LOCK})")
        connection.exec_driver_sql(f"SET lock_timeout = {int(_LOCK_WAIT * 1000)}")
    _refuse_what_is_newer(connection)
    connection.commit()
    until = time.monotonic() + _GIVE_UP
    while not _migrated(connection, last=time.monotonic() > until):
        log.warning("another transaction holds a lock that the migration needs: it is tried again", seconds=_PAUSE)
        time.sleep(_PAUSE)


def _refuse_what_is_newer(connection: Connection) -> None:
    these = revisions()
    found = these.shape(connection)
    if found.revision and found.revision not in these.known:
        raise DatabaseIsNewer(found.revision, these.judge(found))


def _migrated(connection: Connection, *, last: bool) -> bool:
    """Run the migrations that are missing, each in its transaction. Return False if one had to wait too long for a lock.

    Raises what the lock's timeout raises when it is the `last` time.
    """
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
    )
    try:
        with context.begin_transaction():
            context.run_migrations()
    except DBAPIError as error:
        connection.rollback()
        if last or not isinstance(getattr(error.orig, "__cause__", None), asyncpg.LockNotAvailableError):
            raise
        return False
    connection.commit()
    return True


async def connect_and_run() -> None:
    address = context.config.get_main_option("sqlalchemy.url") or os.environ["DEPOT_DATABASE_URL"]
    engine = create_async_engine(async_url(address))
    try:
        async with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            await connection.run_sync(run)
    finally:
        await engine.dispose()


asyncio.run(connect_and_run())
