"""What a worker does to the rows, done by a test: no network, no files."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx2

from app.db.session import Database, Reader, Writer, open_database
from app.db.transitions import end_operation
from app.domain.commands import Command
from app.domain.errors import Failed, Reason
from app.domain.repositories import select
from app.domain.states import OperationState
from app.services import creates, downloads, leases, models
from app.services.downloads import Begun
from app.services.leases import Claim
from tests.depot import Depot
from tests.processes import BUSY

FILES = [("config.json", 2, "a" * 64), ("model.safetensors", 5, "b" * 64)]
COMMANDS = (Command.CREATE_MODEL, Command.DELETE_MODEL)


def plain(connection: Reader) -> Writer:
    """The connection that a reader is, for statements in plain SQL."""
    assert isinstance(connection, Writer)
    return connection


async def create(database: Database, name: str, **given: Any) -> Any:
    """The operation of a create, as the API makes it."""
    async with database.begin() as connection:
        wanted = {"selection": select(name, "main", (), ()), "operation_id": uuid4(), "deadline": 3600.0, **given}
        return await creates.create(connection, creates.Create(**wanted))


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
        database = open_database(database_url, patience=BUSY)
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


@dataclass
class Api:
    """An API without a worker: the test does what a worker would, by hand."""

    depot: Depot
    database_url: str
    _names: Iterator[int] = field(default_factory=count)

    def name(self) -> str:
        """A repository that no other test names."""
        return f"acme/model-{next(self._names)}"

    def ask(self, method: str, path: str, body: Any = None, **given: Any) -> httpx2.Response:
        """One request; `body` is sent as JSON."""
        if body is not None:
            given["json"] = body
        return self.depot.client.request(method, path, **given)

    def carry_out(self) -> None:
        """The work that has been due longest is done, well."""
        run(self.database_url, carry_out)

    def fail(self, reason: Reason = Reason.NOT_FOUND) -> None:
        """The work that has been due longest fails."""
        run(self.database_url, partial(fail, reason=reason))

    def ready_model(self) -> str:
        """The id of a new model that is ready."""
        operation = self.depot.create(self.name())
        self.carry_out()
        model_id: str = operation["reference"]["id"]
        assert self.depot.model(model_id)["status"] == "ready"
        return model_id

    def stored(self) -> tuple[Any, Any]:
        """All models and all deployments."""
        return self.ask("GET", "/ai/model").json(), self.ask("GET", "/ai/deployment").json()
