"""The workers that there are: each says so at every look, and what each has in hand stands in its leases.

Only for people to look at. Nothing that is promised rests on it: the leases alone tell who may work on what.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.clock import moment, now
from app.db.inserts import INSERT
from app.db.tables import ModelRow, OperationRow, WorkerRow
from app.db.transitions import is_later

_LOOKS = 3
"""So many looks may a worker miss before it counts as gone; its word may be late when the database is slow."""
_FORGOTTEN = 86_400.0
"""Seconds after which a worker that ended without a word is listed no more."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What a worker says of itself. `poll_interval` in seconds."""

    name: str
    host: str
    version: str
    slots: int
    poll_interval: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A worker: its row with `alive`, and the operations that it holds, as `held` tells them."""

    worker: Row[Any]
    holds: Sequence[Row[Any]]


async def announce(connection: AsyncConnection, presence: Presence, *, fresh: bool) -> None:
    """Say that the worker is there; `fresh` if it has just started: its name may be that of one before it."""
    insert = INSERT[connection.dialect.name]
    said = {
        "host": presence.host,
        "version": presence.version,
        "slots": presence.slots,
        "look_interval": presence.poll_interval,
        "seen_at": now(),
    }
    begun = {"started_at": now()} if fresh else {}
    statement = insert(WorkerRow).values(name=presence.name, started_at=now(), **said)
    await connection.execute(statement.on_conflict_do_update(index_elements=[WorkerRow.name], set_=said | begun))


async def sign_out(connection: AsyncConnection, name: str) -> None:
    """Say that the worker stops."""
    await connection.execute(delete(WorkerRow).where(WorkerRow.name == name))


async def forget_silent(connection: AsyncConnection) -> int:
    """Remove those that have not been seen for a day; how many there were."""
    return (await connection.execute(delete(WorkerRow).where(WorkerRow.seen_at < moment(-_FORGOTTEN)))).rowcount


async def list_all(connection: AsyncConnection) -> Sequence[Listed]:
    """Every worker, the longest there first. One that is not `alive` was stopped without a word, or can't reach us."""
    late = _LOOKS * WorkerRow.look_interval
    # Neither long ago nor long from now: the clock may have been put back.
    alive = and_(WorkerRow.seen_at > now(-late), WorkerRow.seen_at < now(late))
    columns: tuple[Any, ...] = (*WorkerRow.__table__.columns, alive.label("alive"))
    rows = (await connection.execute(select(*columns).order_by(WorkerRow.started_at, WorkerRow.name))).all()
    holds = defaultdict(list)
    for operation in await held(connection):
        holds[operation.lease_owner].append(operation)
    return [Listed(row, holds[row.name]) for row in rows]


async def held(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """The operations that are leased, the longest held first, each with its model's name and progress.

    One that was cancelled is among them until its worker has let go. A deleted model has no name any more.
    """
    columns: tuple[Any, ...] = (
        OperationRow.lease_owner,
        OperationRow.id,
        OperationRow.command,
        OperationRow.resource_id,
        OperationRow.state,
        OperationRow.attempts,
        OperationRow.request_id,
        OperationRow.leased_at,
        ModelRow.name.label("model_name"),
        ModelRow.downloaded,
        ModelRow.total,
        ModelRow.rate,
    )
    query = select(*columns).join(ModelRow, ModelRow.id == OperationRow.resource_id, isouter=True)
    query = query.where(OperationRow.lease_owner.is_not(None), is_later(OperationRow))
    rows: Sequence[Row[Any]] = (await connection.execute(query.order_by(OperationRow.leased_at, OperationRow.id))).all()
    return rows
