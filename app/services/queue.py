"""Which models are fetched, and which first: pause, resume, priority.

Each function is called in one transaction after `lock`.
"""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, literal, select, update

from app.db.clock import now
from app.db.session import Writer
from app.db.tables import PENDING, ModelRow, OperationRow
from app.db.transitions import accepted_at, place_of
from app.domain.commands import Command
from app.domain.errors import Conflict
from app.domain.states import UNDER_WAY
from app.services.models import unknown

PAUSED = "It is paused: what arrived is kept. Resume the model to go on from there."


async def lock(connection: Writer, model_id: UUID) -> str:
    """Lock a model's row, before its operation's. Return its name. Raises `NotFound`, or `Conflict` if it is being deleted."""
    query = select(ModelRow.name, ModelRow.deleting).where(ModelRow.id == model_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise unknown(model_id)
    if row.deleting:
        raise Conflict(f"Model {model_id} is being deleted: nothing of it can be changed.")
    return str(row.name)


async def pause(connection: Writer, model_id: UUID) -> None:
    """Stop fetching a model until `resume`. A worker that fetches it notices within a second. Raises `Conflict`."""
    model = update(ModelRow).where(ModelRow.id == model_id, ModelRow.status.in_(UNDER_WAY)).values(paused=True)
    operation = update(OperationRow).where(_fetches(model_id)).values(paused=True, message=PAUSED)
    if any([(await connection.execute(statement)).rowcount != 1 for statement in (model, operation)]):
        raise Conflict(f"Nothing fetches model {model_id}: only what is being fetched can be paused.", field="paused")


async def resume(connection: Writer, model_id: UUID, *, deadline: float) -> None:
    """Fetch a paused model again, in its old place of the queue, for at most `deadline` seconds from now."""
    await connection.execute(update(ModelRow).where(ModelRow.id == model_id).values(paused=False))
    paused = update(OperationRow).where(_fetches(model_id), OperationRow.paused)
    await connection.execute(paused.values(paused=False, message=None, deadline_at=now(deadline)))


async def prioritise(connection: Writer, model_id: UUID, priority: int) -> None:
    """Set a model's priority, and move its operation in the queue."""
    await connection.execute(update(ModelRow).where(ModelRow.id == model_id).values(priority=priority))
    place = place_of(accepted_at(), literal(priority))
    await connection.execute(update(OperationRow).where(_fetches(model_id)).values(place=place))


def _fetches(model_id: UUID) -> ColumnElement[bool]:
    return and_(OperationRow.resource_id == model_id, PENDING, OperationRow.command == Command.CREATE_MODEL)
