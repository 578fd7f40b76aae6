"""Leases on operations: claimed by a worker, renewed while it works, released.

A claim is one guarded UPDATE, so two workers never get the same operation. All times are the database's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Float,
    ScalarSelect,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from app.db.clock import now
from app.db.session import Reader, Writer
from app.db.tables import PENDING, ModelRow, OperationRow
from app.db.transitions import Lease, LeaseLost, accepted_at, begun_at_work, held, is_later, place_of
from app.domain.commands import Command
from app.domain.errors import NotYet, Reason
from app.domain.states import OperationState
from app.services.fetches import is_held_up
from app.services.queue import PAUSED

_OF_MODEL = select(ModelRow.priority).where(ModelRow.id == OperationRow.resource_id).scalar_subquery()
_PRIORITY = func.coalesce(_OF_MODEL, 0)
_DUE = (PENDING, ~OperationRow.paused, ~is_later(OperationRow))
# In the order of the queue: PostgreSQL would look for one among all that ended, too.
_FIRST_DUE = select(OperationRow.id).where(*_DUE).order_by(OperationRow.place, OperationRow.due_at).limit(1)


@dataclass(frozen=True, slots=True)
class Claim:
    """An operation leased to a worker."""

    lease: Lease
    command: Command
    resource_id: UUID
    resource_name: str | None
    attempts: int
    """The number of consecutive leases without progress, including this one."""
    sealed_token: str | None
    request_id: str | None


async def are_due(connection: Reader) -> bool:
    """Return whether operations are due. A `claim` tells more, but is a transaction: on SQLite one at a time."""
    return (await connection.execute(_FIRST_DUE)).first() is not None


async def claim(
    connection: Writer, worker: str, *, lease: float, commands: Sequence[Command], small: int | None = None
) -> Claim | None:
    """Lease the first operation of the queue that is due to `worker` for `lease` seconds; return `None` if none is due.

    Operations that are paused, or wait for a content that is still being fetched, are skipped.

    With `small`, only operations on models of at most `small` bytes, or of unknown size.
    """
    values = {"worker": worker, "seconds": lease} | ({} if small is None else {"small": small})
    row = (await connection.execute(_claim(tuple(commands), sized=small is not None), values)).one_or_none()
    if row is None:
        return None
    return Claim(
        Lease(row.id, row.fence),
        row.command,
        row.resource_id,
        row.resource_name,
        row.attempts,
        row.sealed_token,
        row.request_id,
    )


@cache
def _claim(commands: tuple[Command, ...], *, sized: bool) -> ReturningUpdate[*tuple[Any, ...]]:
    """Return the statement with the parameters `worker`, `seconds` and, if `sized`, `small`.

    Cached, because building it takes as long as running it.
    """
    return (
        update(OperationRow)
        .where(OperationRow.id == _due(commands, sized=sized))
        .values(
            lease_owner=bindparam("worker"),
            due_at=now(bindparam("seconds", type_=Float)),
            place=place_of(now(bindparam("seconds", type_=Float)), _PRIORITY),
            leased_at=now(),
            renewed_at=now(),
            begun_at=begun_at_work(),
            fence=OperationRow.fence + 1,
            attempts=OperationRow.attempts + 1,
        )
        .returning(
            OperationRow.id,
            OperationRow.fence,
            OperationRow.command,
            OperationRow.resource_id,
            OperationRow.resource_name,
            OperationRow.attempts,
            OperationRow.sealed_token,
            OperationRow.request_id,
        )
    )


def _due(commands: tuple[Command, ...], *, sized: bool) -> ScalarSelect[UUID]:
    """Return a query of the first operation of the queue that is due, which locks it and skips locked ones."""
    other = aliased(OperationRow)
    occupied = exists().where(
        other.resource_id == OperationRow.resource_id,
        other.id != OperationRow.id,
        other.lease_owner.is_not(None),
        is_later(other),
    )
    conditions = [*_DUE, ~occupied, ~is_held_up(), OperationRow.command.in_(commands)]
    if sized:
        fits = or_(ModelRow.total.is_(None), ModelRow.total <= bindparam("small"))
        conditions.append(exists().where(ModelRow.id == OperationRow.resource_id, fits))
    return (
        select(OperationRow.id)
        .where(*conditions)
        .order_by(OperationRow.place, OperationRow.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


async def renew(connection: Writer, lease: Lease, *, seconds: float, reached: int) -> int:
    """Renew the lease for `seconds` from now. Return the number of attempts without progress, including this one.

    An attempt that `reached` more bytes than any before it counts as the first again. Raises `LeaseLost`.
    """
    progress = OperationRow.reached < reached
    statement = (
        update(OperationRow)
        .where(held(lease))
        .values(
            due_at=now(seconds),
            renewed_at=now(),
            attempts=case((progress, 1), else_=OperationRow.attempts),
            reached=case((progress, reached), else_=OperationRow.reached),
        )
    )
    attempts: int | None = (await connection.execute(statement.returning(OperationRow.attempts))).scalar_one_or_none()
    if attempts is None:
        raise LeaseLost
    return attempts


async def confirm(connection: Reader, lease: Lease) -> None:
    """Check that the lease is still held. Raises `LeaseLost`, or `NotYet` if the operation is paused."""
    row = (await connection.execute(select(OperationRow.paused).where(held(lease)))).one_or_none()
    if row is None:
        raise LeaseLost
    if row.paused:
        raise NotYet(Reason.BUSY, PAUSED)


async def release(connection: Writer, lease: Lease, *, after: float, message: str) -> None:
    """Release the operation: due again `after` seconds from now. `message` tells its caller why. Raises `LeaseLost`."""
    await _queue(connection, lease, now(after), message)


async def put_back(connection: Writer, lease: Lease, *, after: float | None = None, message: str | None = None) -> None:
    """Release the operation without counting this attempt. Raises `LeaseLost`.

    It is due again `after` seconds from now, or if that is `None`, at once and in its old place in the queue.
    """
    due_at = accepted_at() if after is None else now(after)
    uncounted = {"attempts": OperationRow.attempts - 1, "put_backs": OperationRow.put_backs + 1}
    await _queue(connection, lease, due_at, message, **uncounted)


async def _queue(
    connection: Writer, lease: Lease, due_at: ColumnElement[Any], message: str | None, **values: Any
) -> None:
    """Release the operation, due again at `due_at`. One that is paused keeps its message. Raises `LeaseLost`."""
    told = case((OperationRow.paused, OperationRow.message), else_=literal(message, OperationRow.message.type))
    place = place_of(due_at, _PRIORITY)
    statement = update(OperationRow).where(held(lease))
    statement = statement.values(lease_owner=None, due_at=due_at, renewed_at=now(), place=place, message=told, **values)
    if (await connection.execute(statement)).rowcount != 1:
        raise LeaseLost


async def let_go(connection: Writer, lease: Lease) -> bool:
    """Release the lease of an operation that another process ended. Return False if it has not ended."""
    mine = and_(OperationRow.id == lease.operation_id, OperationRow.fence == lease.fence)
    ended = OperationRow.state != OperationState.PENDING
    statement = update(OperationRow).where(mine, ended).values(lease_owner=None, due_at=now())
    return (await connection.execute(statement)).rowcount == 1


async def owners(connection: Reader, host: str) -> set[str]:
    """Return the workers of `host` that hold leases, also on operations that another process ended."""
    mine = OperationRow.lease_owner.startswith(f"{host}:", autoescape=True)
    found = (await connection.execute(select(OperationRow.lease_owner).where(mine).distinct())).scalars()
    return {owner for owner in found if owner}


async def give_up(connection: Writer, owners: Collection[str]) -> int:
    """Release the leases of dead workers. Return their number. The attempts count as without progress."""
    dead = update(OperationRow).where(OperationRow.lease_owner.in_(owners))
    return (await connection.execute(dead.values(lease_owner=None, due_at=now()))).rowcount
