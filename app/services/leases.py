"""Leases on operations: claimed by a worker, renewed while it works, given back.

A claim is one guarded UPDATE, so two workers never get the same operation. All times are the database's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Float, and_, bindparam, case, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from app.db.clock import now
from app.db.tables import PENDING, ModelRow, OperationRow
from app.db.transitions import Lease, LeaseLost, held, is_later
from app.domain.commands import Command
from app.domain.states import OperationState
from app.services.fetches import is_held_up


@dataclass(frozen=True, slots=True)
class Claim:
    """An operation that a worker was granted."""

    lease: Lease
    command: Command
    resource_id: UUID
    resource_name: str | None
    attempts: int
    """How many leases in a row, this one included, came to nothing so far."""
    sealed_token: str | None
    request_id: str | None


async def claim(
    connection: AsyncConnection, worker: str, *, lease: float, commands: Sequence[Command], small: int | None = None
) -> Claim | None:
    """The operation that has been due longest, leased to `worker` for `lease` seconds; `None` if nothing is due.

    Not one that would find the content it waits for still on its way.

    With `small`, only of models of at most so many bytes, or whose size is not known yet.
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
    """The statement, with `worker`, `seconds` and, if it is `sized`, `small` to fill in: it takes as long to build as to run."""
    other = aliased(OperationRow)
    occupied = exists().where(
        other.resource_id == OperationRow.resource_id,
        other.id != OperationRow.id,
        other.lease_owner.is_not(None),
        is_later(other),
    )
    conditions = [PENDING, ~is_later(OperationRow), OperationRow.command.in_(commands), ~occupied, ~is_held_up()]
    if sized:
        fits = or_(ModelRow.total.is_(None), ModelRow.total <= bindparam("small"))
        conditions.append(exists().where(ModelRow.id == OperationRow.resource_id, fits))
    due = (
        select(OperationRow.id)
        .where(*conditions)
        .order_by(OperationRow.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        update(OperationRow)
        .where(OperationRow.id == due)
        .values(
            lease_owner=bindparam("worker"),
            due_at=now(bindparam("seconds", type_=Float)),
            leased_at=now(),
            renewed_at=now(),
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


async def renew(connection: AsyncConnection, lease: Lease, *, seconds: float, reached: int) -> int:
    """Hold the lease for `seconds` from now; the attempts that came to nothing so far, this one included.

    Having `reached` more bytes than any attempt before makes this one the first again. Raises `LeaseLost`.
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


async def confirm(connection: AsyncConnection, lease: Lease) -> None:
    """Ask whether the lease is still held. Raises `LeaseLost`."""
    if (await connection.execute(select(OperationRow.id).where(held(lease)))).one_or_none() is None:
        raise LeaseLost


async def release(connection: AsyncConnection, lease: Lease, *, after: float, message: str) -> None:
    """Give the operation back: due again `after` seconds from now. `message` tells its caller why. Raises `LeaseLost`."""
    statement = update(OperationRow).where(held(lease)).values(lease_owner=None, due_at=now(after), message=message)
    if (await connection.execute(statement)).rowcount != 1:
        raise LeaseLost


async def put_back(
    connection: AsyncConnection, lease: Lease, *, after: float | None = None, message: str | None = None
) -> None:
    """Give the operation back as if this attempt had not been. Raises `LeaseLost`.

    It is due again `after` seconds from now, or else at once and in its old place in the queue.
    """
    # Made later than now, before the clock was put back, it would wait for that moment.
    place = case((OperationRow.created_at < now(), OperationRow.created_at), else_=now())
    due_at = place if after is None else now(after)
    values = {"lease_owner": None, "due_at": due_at, "attempts": OperationRow.attempts - 1, "message": message}
    if (await connection.execute(update(OperationRow).where(held(lease)).values(**values))).rowcount != 1:
        raise LeaseLost


async def let_go(connection: AsyncConnection, lease: Lease) -> bool:
    """Say that nothing works any more for a lease whose operation was ended by somebody else; false if it was not."""
    mine = and_(OperationRow.id == lease.operation_id, OperationRow.fence == lease.fence)
    ended = OperationRow.state != OperationState.PENDING
    statement = update(OperationRow).where(mine, ended).values(lease_owner=None, due_at=now())
    return (await connection.execute(statement)).rowcount == 1


async def owners(connection: AsyncConnection, host: str) -> set[str]:
    """The workers of `host` that hold leases, also of operations that were ended by somebody else."""
    mine = OperationRow.lease_owner.startswith(f"{host}:", autoescape=True)
    found = (await connection.execute(select(OperationRow.lease_owner).where(mine).distinct())).scalars()
    return {owner for owner in found if owner}


async def give_up(connection: AsyncConnection, owners: Collection[str]) -> int:
    """End the leases of workers that are dead; how many there were. Their attempts count as such that came to nothing."""
    dead = update(OperationRow).where(OperationRow.lease_owner.in_(owners))
    return (await connection.execute(dead.values(lease_owner=None, due_at=now()))).rowcount
