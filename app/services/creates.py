"""Requests to fetch a model: a new one, one in `error` again, the wrong files of a ready one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from app.db.clock import now
from app.db.inserts import INSERT
from app.db.session import Writer
from app.db.tables import ModelRow
from app.domain.commands import Command
from app.domain.errors import Conflict, DepotError
from app.domain.repositories import Selection
from app.domain.states import ModelStatus
from app.services import downloads, operations
from app.services.rows import AcceptedOperation

_INSERT = {
    dialect: insert_of(ModelRow)
    .on_conflict_do_nothing(index_elements=[ModelRow.fingerprint])
    .values(status=ModelStatus.CREATING, deleting=False, created_at=now(), updated_at=now())
    .returning(ModelRow.id)
    for dialect, insert_of in INSERT.items()
}


@dataclass(frozen=True, slots=True)
class Create:
    """A model to fetch, by an operation that may take `deadline` seconds."""

    selection: Selection
    operation_id: UUID
    deadline: float
    sealed_token: str | None = None
    request_id: str | None = None


async def create(connection: Writer, wanted: Create) -> AcceptedOperation:
    """Begin to fetch a model and return the operation. A model in `error` is retried under its old id.

    Raises `Conflict` if the model exists in another status, or is being deleted.
    """
    if begun := await create_new(connection, [wanted]):
        return begun[wanted.operation_id]
    model_id, priority = await _retry(connection, wanted.selection)
    return (await operations.begin_all(connection, [_fetching(wanted, model_id, priority)]))[0]


async def create_new(connection: Writer, wanted: Sequence[Create]) -> dict[UUID, AcceptedOperation]:
    """Begin to fetch those of `wanted` without a model row. Return the operations by id."""
    by_model = {uuid4(): one for one in wanted}
    models = [
        {"id": model_id, "fingerprint": one.selection.fingerprint, **asdict(one.selection)}
        for model_id, one in by_model.items()
    ]
    made = (await connection.execute(_INSERT[connection.dialect.name], models)).scalars().all()
    if not made:
        return {}
    new = [_fetching(by_model[model_id], model_id) for model_id in made]
    return {row.id: row for row in await operations.begin_all(connection, new)}


async def repair(
    connection: Writer, model_id: UUID, *, operation_id: UUID, sealed_token: str | None, deadline: float
) -> AcceptedOperation:
    """Begin to fetch a ready model's wrong files again, at its commit. Return the operation.

    The model stays ready, even if that fails. Raises `Conflict` if it is not ready any more, or busy.
    """
    columns: tuple[Any, ...] = (ModelRow.name, ModelRow.status, ModelRow.deleting, ModelRow.priority)
    query = select(*columns).where(ModelRow.id == model_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or row.deleting or row.status != ModelStatus.READY:
        raise Conflict(f"Model {model_id} is not ready any more: look at it again once it is.")
    if under_way := await operations.pending(connection, model_id):
        raise Conflict(f"Operation {under_way.id} is at work on model {model_id}: wait until it has ended.")
    command = Command.CREATE_MODEL
    new = operations.New(operation_id, command, model_id, row.name, deadline, sealed_token, None, row.priority)
    return (await operations.begin_all(connection, [new]))[0]


def _fetching(wanted: Create, model_id: UUID, priority: int = 0) -> operations.New:
    command = Command.CREATE_MODEL
    return operations.New(
        wanted.operation_id,
        command,
        model_id,
        wanted.selection.name,
        wanted.deadline,
        wanted.sealed_token,
        wanted.request_id,
        priority,
    )


async def _retry(connection: Writer, selection: Selection) -> tuple[UUID, int]:
    """Reset the failed model of that selection. Return its id and its priority."""
    query = select(ModelRow.id, ModelRow.status, ModelRow.deleting, ModelRow.priority)
    query = query.where(ModelRow.fingerprint == selection.fingerprint).with_for_update()
    existing = (await connection.execute(query)).one_or_none()
    if existing is None:
        raise Conflict(f"The model of {selection.name!r} was deleted at this very moment. Try again.")
    if existing.deleting:
        raise Conflict(f"Model {existing.id} of {selection.name!r} is being deleted. Try again once it is gone.")
    if existing.status != ModelStatus.ERROR:
        raise Conflict(
            f"Model {existing.id} already holds this selection of {selection.name!r} and is {existing.status}. "
            "Use that one, or delete it first."
        )
    if not await downloads.reset(connection, existing.id):
        raise DepotError("A locked row changed.")
    return existing.id, existing.priority
