"""Runs the migrations on the database that is named by `sqlalchemy.url`, or else by DEPOT_DATABASE_URL."""

import asyncio
import os

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import context
from app.db.session import async_url
from app.db.tables import Base

_MIGRATIONS_LOCK = 0x4D6F_4465_706F
"""PostgreSQL's advisory lock that migrators take: "MoDepo" in ASCII."""


def run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two deployments may start at once: the second waits for the first and then finds nothing to do.
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_MIGRATIONS_LOCK})")
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


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
