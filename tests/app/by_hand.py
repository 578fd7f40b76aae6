"""What a worker does to the rows, done by a test: no network, no files."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from app.db.session import Database, open_database
from app.db.transitions import end_operation
from app.domain.commands import Command
from app.domain.errors import Failed, Reason
from app.domain.repositories import select
from app.domain.states import OperationState
from app.services import downloads, leases, models
from app.services.downloads import Begun
from app.services.leases import Claim

FILES = [("config.json", 2, "a" * 64), ("model.safetensors", 5, "b" * 64)]
COMMANDS = (Command.CREATE_MODEL, Command.DELETE_MODEL)


async def create(database: Database, name: str, **given: Any) -> Any:
    """The operation of a create, as the API makes it."""
    async with database.begin() as connection:
        wanted = {"selection": select(name, "main", (), ()), "operation_id": uuid4(), "deadline": 3600.0, **given}
        return await models.create(connection, models.Create(**wanted))


async def claim(database: Database, worker: str = "by hand", lease: float = 30.0) -> Claim | None:
    async with database.begin() as connection:
        return await leases.claim(connection, worker, lease=lease, commands=COMMANDS)


async def carry_out(database: Database) -> Claim:
    """Claim what has been due longest and bring it to its good end."""
    claimed = await claim(database)
    assert claimed is not None
    async with database.begin() as connection:
        model_id = claimed.resource_id
        if claimed.command is Command.DELETE_MODEL:
            await models.forget(connection, model_id)
            await end_operation(connection, claimed.lease, OperationState.SUCCESS)
        else:
            size = sum(size for _, size, _ in FILES)
            await downloads.begin(connection, claimed.lease, model_id, Begun("c" * 40, size, size))
            await downloads.publish(connection, claimed.lease, model_id, f"/models/{model_id}", FILES)
    return claimed


async def fail(database: Database, reason: Reason = Reason.NOT_FOUND) -> Claim:
    """Claim what has been due longest and bring it to its bad end."""
    claimed = await claim(database)
    assert claimed is not None
    await give_up(database, claimed, reason)
    return claimed


async def arrive(database: Database, claimed: Claim, size: int, *, total: int = 100) -> None:
    """The download has begun and so many bytes are here."""
    async with database.begin() as connection:
        await downloads.begin(connection, claimed.lease, claimed.resource_id, Begun("c" * 40, total, size))


async def give_up(database: Database, claimed: Claim, reason: Reason = Reason.NOT_FOUND) -> None:
    """The operation ends badly."""
    async with database.begin() as connection:
        error = Failed(reason, "The Hub has no such repository.")
        await downloads.fail(connection, claimed.lease, claimed.resource_id, claimed.command, error)


def run(database_url: str, work: Callable[[Database], Awaitable[Any]]) -> Any:
    """Do `work` on the database, from a test that is not asynchronous."""

    async def opened() -> Any:
        database = open_database(database_url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(opened())


def ready_model(database: Database, name: str) -> Awaitable[UUID]:
    """The id of a new model that is ready."""

    async def make() -> UUID:
        operation = await create(database, name)
        claimed = await carry_out(database)
        assert claimed.lease.operation_id == operation.id
        return claimed.resource_id

    return make()
