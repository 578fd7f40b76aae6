"""The only code that changes a state: each change is one UPDATE that checks and writes at once.

A transaction that changes both changes the model before its operation, so two transactions never deadlock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.clock import later, moment, now, seconds
from app.db.tables import FetchRow, ModelRow, OperationRow, WaitRow
from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.states import COMES_FROM, ModelStatus, OperationState

_LEVEL = 3600
"""Seconds that an operation may have waited longer than one of a level above, which still goes first."""
_CLOCK_SLACK = 5.0
"""Seconds by which the database's clock may go back before a lease counts as granted in the future."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to carry out an operation. It is lost once the row's fence is higher than its own."""

    operation_id: UUID
    fence: int


class LeaseLost(Exception):
    """The operation has ended, or another worker has leased it. The transaction must be rolled back."""


def held(lease: Lease) -> ColumnElement[bool]:
    """Return a condition: this is the operation of `lease`, pending, and no later lease was granted on it."""
    return and_(
        OperationRow.id == lease.operation_id,
        OperationRow.fence == lease.fence,
        OperationRow.state == OperationState.PENDING,
    )


def is_later(row: Any, *, grace: float = 0.0) -> ColumnElement[bool]:
    """Return a condition: the operation can't be claimed yet, because its lease lasts (if it has an owner) or it waits.

    With `grace`, also if that was so until less than `grace` seconds ago. False if it was leased or created in the
    future: the clock was put back, and its old times are invalid.
    """
    said = func.coalesce(row.renewed_at, row.leased_at, row.created_at)
    return and_(row.due_at > moment(-grace), said <= moment(_CLOCK_SLACK))


def place_of(due_at: ColumnElement[datetime], priority: ColumnElement[int]) -> ColumnElement[float]:
    """Return the place in the queue of an operation that is due at `due_at`.

    Among those of one priority the one that has been due longest is first. None starves: a level is worth an hour of
    waiting, so one of a higher priority goes before it only if it has not waited that many hours less.
    """
    return seconds(due_at) - priority * _LEVEL


def accepted_at() -> ColumnElement[datetime]:
    """Return since when an operation is due at its acceptance: now, if a clock that was put back says it was later."""
    return case((OperationRow.created_at < now(), OperationRow.created_at), else_=now())


def begun_at_work() -> ColumnElement[datetime]:
    """Return when a download began, later by the time since its last lease, in which no worker was at work on it."""
    since_then = later(OperationRow.begun_at, seconds(now()) - seconds(OperationRow.renewed_at))
    # It may have begun after the last renewal, before its worker died.
    return case((OperationRow.begun_at > OperationRow.renewed_at, now()), else_=since_then)


async def move_model(
    connection: AsyncConnection,
    model_id: UUID,
    to: ModelStatus,
    *conditions: ColumnElement[bool],
    lease: Lease | None = None,
    **values: Any,
) -> bool:
    """Move the model to state `to`, and set `values`. Return False, with nothing written, if it may not.

    With a `lease` the model moves only while that is held, with `conditions` only if all of them are true.
    """
    statement = update(ModelRow).where(ModelRow.id == model_id, ModelRow.status.in_(COMES_FROM[to]), *conditions)
    if lease is not None:
        statement = statement.where(exists().where(held(lease)))
    if to is not ModelStatus.DOWNLOADING:  # Its operation ends, or begins.
        values["paused"] = False
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
    """Write to the model's row that its operation failed. Return False, with nothing written, if it may not.

    A create-model of a ready model is a repair: if it fails, the model stays ready.
    """
    conditions = [ModelRow.status != ModelStatus.READY] if command is Command.CREATE_MODEL else []
    return await move_model(
        connection, model_id, ModelStatus.ERROR, *conditions, lease=lease, rate=None, reason=reason, message=message
    )


async def mark_deleting(connection: AsyncConnection, model_id: UUID, *, deleting: bool) -> None:
    """Forbid new deployments of the model (or allow them again, when its delete failed)."""
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
    """End a pending operation, even if a worker is running it. Return False if there was none.

    The lease stays: its worker notices within a second, stops, and only then releases it. Until then, or until the
    lease expires, no other operation on the same resource is claimed.
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
    """Delete the fetches and waits of these operations: no download waits for them, nor they for any other."""
    if operation_ids:
        # In the order of the checksums, as in `fetches.claim`: otherwise the two could deadlock.
        mine = select(FetchRow.sha256).where(FetchRow.operation_id.in_(operation_ids))
        mine = mine.order_by(FetchRow.sha256).with_for_update()
        await connection.execute(delete(FetchRow).where(FetchRow.sha256.in_(mine)))
        await connection.execute(delete(WaitRow).where(WaitRow.operation_id.in_(operation_ids)))
