"""The only code that changes a state: each change is one UPDATE that checks and writes at once.

Where both are touched the model comes before its operation, always: two transactions never wait for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.clock import moment, now
from app.db.tables import FetchRow, ModelRow, OperationRow, WaitRow
from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.states import COMES_FROM, ModelStatus, OperationState

_CLOCK_SLACK = 5.0
"""Seconds by which the database's clock may go back without a lease being taken for one of the future."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to carry out an operation. The fence is its proof: the row's has moved on when it is lost."""

    operation_id: UUID
    fence: int


class LeaseLost(Exception):
    """The operation ended under its worker, or another worker has it. The transaction must be rolled back."""


def held(lease: Lease) -> ColumnElement[bool]:
    """True for the operation of `lease` as long as it is pending and nobody else was granted it."""
    return and_(
        OperationRow.id == lease.operation_id,
        OperationRow.fence == lease.fence,
        OperationRow.state == OperationState.PENDING,
    )


def is_later(row: Any, *, grace: float = 0.0) -> ColumnElement[bool]:
    """True for an operation that nobody may claim yet: its lease lasts (where it has an owner), or it waits.

    With `grace`, that nobody could until so many seconds ago, too. Not so when it was granted or made later than now: the clock was put back, and what it said then holds no more.
    """
    said = func.coalesce(row.renewed_at, row.leased_at, row.created_at)
    return and_(row.due_at > moment(-grace), said <= moment(_CLOCK_SLACK))


async def move_model(
    connection: AsyncConnection,
    model_id: UUID,
    to: ModelStatus,
    *conditions: ColumnElement[bool],
    lease: Lease | None = None,
    **values: Any,
) -> bool:
    """Put the model in state `to`, with `values`; false, and nothing written, where it may not go there.

    With a `lease` it is moved only while that is held, with `conditions` only if all of them are true of it.
    """
    statement = update(ModelRow).where(ModelRow.id == model_id, ModelRow.status.in_(COMES_FROM[to]), *conditions)
    if lease is not None:
        statement = statement.where(exists().where(held(lease)))
    result = await connection.execute(statement.values(status=to, updated_at=now(), **values))
    return result.rowcount == 1


async def fail_model(
    connection: AsyncConnection,
    model_id: UUID,
    command: Command,
    reason: Reason,
    message: str,
    *,
    lease: Lease | None = None,
) -> bool:
    """Say in the model's row that its operation failed; false, and nothing written, where it may not.

    A create-model of a ready model is a repair: what it leaves is as good as before.
    """
    conditions = [ModelRow.status != ModelStatus.READY] if command is Command.CREATE_MODEL else []
    return await move_model(
        connection, model_id, ModelStatus.ERROR, *conditions, lease=lease, rate=None, reason=reason, message=message
    )


async def mark_deleting(connection: AsyncConnection, model_id: UUID, *, deleting: bool) -> None:
    """From here on the model takes no new deployment (or again does, when its delete failed)."""
    statement = update(ModelRow).where(ModelRow.id == model_id)
    await connection.execute(statement.values(deleting=deleting, updated_at=now()))


async def end_operation(
    connection: AsyncConnection,
    lease: Lease,
    state: OperationState,
    *,
    reason: Reason | None = None,
    message: str | None = None,
) -> None:
    """End the operation that `lease` holds and wipe its token. Raises `LeaseLost`."""
    statement = (
        update(OperationRow)
        .where(held(lease))
        .values(
            state=state,
            reason=reason,
            message=message,
            sealed_token=None,
            ended_at=now(),
            due_at=now(),
            lease_owner=None,
        )
    )
    if (await connection.execute(statement)).rowcount != 1:
        raise LeaseLost
    await _forget_contents(connection, [lease.operation_id])


async def cancel_operation(
    connection: AsyncConnection,
    which: ColumnElement[bool],
    state: OperationState,
    reason: Reason,
    message: str,
) -> bool:
    """End a pending operation over the head of whoever works on it; false if there was none.

    A lease is left standing: its worker notices within a second, stops, and only then lets go of it. Until it has,
    or the lease has run out, nothing else on the same resource is claimed.
    """
    statement = (
        update(OperationRow)
        .where(which, OperationRow.state == OperationState.PENDING)
        .values(state=state, reason=reason, message=message, sealed_token=None, ended_at=now())
        .returning(OperationRow.id)
    )
    cancelled = (await connection.execute(statement)).scalars().all()
    await _forget_contents(connection, cancelled)
    return bool(cancelled)


async def _forget_contents(connection: AsyncConnection, operation_ids: Sequence[UUID]) -> None:
    """Let no download wait for what these operations have fetched or were to fetch, nor them for any other."""
    if operation_ids:
        # In the order of the checksums, as whoever takes them over does: or else the two could wait for each other.
        mine = select(FetchRow.sha256).where(FetchRow.operation_id.in_(operation_ids))
        mine = mine.order_by(FetchRow.sha256).with_for_update()
        await connection.execute(delete(FetchRow).where(FetchRow.sha256.in_(mine)))
        await connection.execute(delete(WaitRow).where(WaitRow.operation_id.in_(operation_ids)))
