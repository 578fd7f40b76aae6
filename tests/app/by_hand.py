"""What a worker does to the rows, done by a test: no network, no files."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from app.db.session import Database, open_database
from app.db.transitions import end_operation, mark_deleting, move_model
from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.repositories import select
from app.domain.states import ModelStatus, OperationState
from app.services import files, leases, models
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
        else:
            size = sum(size for _, size, _ in FILES)
            arrived = {"commit": "c" * 40, "model_size": size, "downloaded": size, "total": size}
            await move_model(connection, model_id, ModelStatus.DOWNLOADING, lease=claimed.lease, **arrived)
            await files.record(connection, model_id, FILES)
            await move_model(connection, model_id, ModelStatus.READY, lease=claimed.lease, path=f"/models/{model_id}")
        await end_operation(connection, claimed.lease, OperationState.SUCCESS)
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
        known = {"commit": "c" * 40, "downloaded": size, "total": total}
        assert await move_model(connection, claimed.resource_id, ModelStatus.DOWNLOADING, lease=claimed.lease, **known)


async def give_up(database: Database, claimed: Claim, reason: Reason = Reason.NOT_FOUND) -> None:
    """The operation ends badly."""
    async with database.begin() as connection:
        words = {"reason": reason, "message": "The Hub has no such repository."}
        await move_model(connection, claimed.resource_id, ModelStatus.ERROR, lease=claimed.lease, **words)
        await mark_deleting(connection, claimed.resource_id, deleting=False)
        await end_operation(connection, claimed.lease, OperationState.FAILURE, reason=reason, message=words["message"])


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
