"""The running workers: each announces itself at every poll; its leases show its operations.

For display only. No guarantee depends on it: only the leases decide which worker may run an operation.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import Select, and_, delete, or_, select

from app.db.clock import moment, now
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import PENDING, ModelRow, OperationRow, WorkerRow
from app.db.transitions import is_later
from app.domain.errors import NotFound
from app.services.operations import RETRIES
from app.services.rows import LeasedOperation, WorkerRecord

_LOOKS = 3
"""Polls that a worker may miss before it counts as gone; a slow database may delay its announcement."""
_FORGOTTEN, _MISSED_FOR = 3600.0, 86_400.0
"""Seconds after which a worker that stopped without signing out is no longer listed: usually, and if it is missed."""


_LATE = _LOOKS * WorkerRow.look_interval
# Neither far in the past nor far in the future: the clock may have been put back.
_ALIVE = and_(WorkerRow.seen_at > now(-_LATE), WorkerRow.seen_at < now(_LATE))


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker's announcement. `poll_interval` is in seconds."""

    name: str
    host: str
    version: str
    slots: int
    poll_interval: float


class WorkerStatus(StrEnum):
    """What a worker does: it holds operations or none, or it is not alive, whatever it held."""

    BUSY = "busy"
    IDLE = "idle"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Listed:
    """A worker: its row with `alive`, and the operations that it holds, as from `held`."""

    worker: WorkerRecord
    holds: Sequence[LeasedOperation]
    missed: bool
    """It is not alive, and somebody has to look: no worker has taken over its operations, or none is there."""

    @property
    def status(self) -> WorkerStatus:
        if not self.worker.alive:
            return WorkerStatus.SILENT
        return WorkerStatus.BUSY if self.holds else WorkerStatus.IDLE


async def announce(connection: Writer, presence: Presence, *, fresh: bool) -> None:
    """Store that the worker runs; `fresh` if it has just started: an earlier worker may have had its name."""
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


async def sign_out(connection: Writer, name: str) -> None:
    """Delete the row of a worker that stops."""
    await connection.execute(delete(WorkerRow).where(WorkerRow.name == name))


async def forget_silent(connection: Writer) -> int:
    """Delete the workers that have not been seen for an hour, or for a day if they are missed. Return their number.

    Only a worker calls it, so one is there.
    """
    taken_over = WorkerRow.name.not_in(_unfinished())
    old = or_(and_(WorkerRow.seen_at < moment(-_FORGOTTEN), taken_over), WorkerRow.seen_at < moment(-_MISSED_FOR))
    return (await connection.execute(delete(WorkerRow).where(old))).rowcount


async def dismiss(connection: Writer, name: str) -> None:
    """Delete the row of a worker that is not alive. Raises `NotFound`."""
    if (await connection.execute(delete(WorkerRow).where(WorkerRow.name == name, ~_ALIVE))).rowcount != 1:
        raise NotFound("There is no silent worker of that name: the list of workers shows those there are.")


async def list_all(connection: Reader) -> Sequence[Listed]:
    """Return every worker, oldest first. One not `alive` stopped without signing out, or can't reach the database."""
    columns: tuple[Any, ...] = (*WorkerRow.__table__.columns, _ALIVE.label("alive"))
    rows = (await connection.execute(select(*columns).order_by(WorkerRow.started_at, WorkerRow.name))).all()
    holds: defaultdict[str, list[LeasedOperation]] = defaultdict(list)
    for operation in await held(connection):
        holds[operation.lease_owner].append(operation)
    unfinished = set((await connection.execute(_unfinished())).scalars())
    nobody = not any(row.alive for row in rows)
    return [
        Listed(cast("WorkerRecord", row), holds[row.name], not row.alive and (nobody or row.name in unfinished))
        for row in rows
    ]


async def held(connection: Reader) -> Sequence[LeasedOperation]:
    """Return the leased operations, longest held first, each with its model's name and progress.

    A cancelled one is included until its worker has released it. A deleted model has no name any more.
    """
    columns: tuple[Any, ...] = (
        OperationRow.lease_owner,
        OperationRow.id,
        OperationRow.command,
        OperationRow.resource_id,
        OperationRow.state,
        RETRIES,
        OperationRow.request_id,
        OperationRow.leased_at,
        ModelRow.name.label("model_name"),
        ModelRow.downloaded,
        ModelRow.total,
        ModelRow.rate,
    )
    query = select(*columns).join(ModelRow, ModelRow.id == OperationRow.resource_id, isouter=True)
    query = query.where(OperationRow.lease_owner.is_not(None), is_later(OperationRow))
    return cast(
        "Sequence[LeasedOperation]",
        (await connection.execute(query.order_by(OperationRow.leased_at, OperationRow.id))).all(),
    )


def _unfinished() -> Select[str | None]:
    """Return a query of the workers that were the last to hold an operation which is still to be carried out."""
    query = select(OperationRow.lease_owner).distinct()
    return query.where(PENDING, ~OperationRow.paused, OperationRow.lease_owner.is_not(None))
