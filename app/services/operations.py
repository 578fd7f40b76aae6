"""Operations as their callers see them: begin, read, end, purge."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ColumnElement, Float, and_, bindparam, case, func, insert, select
from sqlalchemy.orm import aliased

from app.db.clock import moment, now
from app.db.deletes import delete_some
from app.db.ids import among
from app.db.session import Reader, Writer
from app.db.tables import PENDING, ModelRow, OperationRow
from app.db.transitions import cancel_operation, fail_model, is_later, mark_deleting, place_of
from app.domain.commands import Command
from app.domain.errors import NotFound, Reason
from app.domain.states import OperationState
from app.services import webhooks
from app.services.fetches import is_held_up
from app.services.rows import AcceptedOperation, OperationRecord
from app.services.webhooks import Event

COLUMNS: tuple[Any, ...] = (
    OperationRow.id,
    OperationRow.state,
    OperationRow.reason,
    OperationRow.message,
    OperationRow.command,
    OperationRow.resource_id,
)
"""The columns a caller sees."""
_COUNTED = OperationRow.fence - OperationRow.put_backs
RETRIES: ColumnElement[int] = case((_COUNTED > 1, _COUNTED - 1), else_=0).label("retries")
"""The number of attempts that followed one which failed, or whose worker died."""
_ACCEPTED = (*COLUMNS, OperationRow.resource_name)
"""The columns of an operation for a request's answer."""
# Built once: SQLAlchemy neither hashes nor adapts the same statement object again.
_SOME = select(*COLUMNS).where(among(OperationRow.id, "operation_ids"))
_OTHER = aliased(OperationRow)
_LAST = select(func.max(_OTHER.created_at)).where(_OTHER.resource_id == OperationRow.resource_id).scalar_subquery()
_NEW = insert(OperationRow).values(created_at=now(), due_at=now(), fence=0, attempts=0, reached=0).returning(*_ACCEPTED)
_BEGIN = _NEW.values(
    deadline_at=now(bindparam("deadline", type_=Float())),
    place=place_of(now(), bindparam("priority", type_=BigInteger())),
)
_RECORD = _NEW.values(deadline_at=now(), ended_at=now())
_NEWEST = select(*COLUMNS).where(among(OperationRow.resource_id, "resource_ids"), OperationRow.created_at == _LAST)
_RECENTLY = 3600.0
"""Seconds for which a failure is counted as recent."""


class New(NamedTuple):
    """An operation to begin, which may take `deadline` seconds. `priority` is its model's."""

    id: UUID
    command: Command
    resource_id: UUID
    resource_name: str
    deadline: float
    sealed_token: str | None
    request_id: str | None
    priority: int = 0


async def get_many(connection: Reader, operation_ids: Sequence[UUID]) -> dict[UUID, OperationRecord]:
    """Return the existing operations of `operation_ids`, ended or not, by id."""
    rows = (await connection.execute(_SOME, {"operation_ids": operation_ids})).all()
    return {row.id: cast("OperationRecord", row) for row in rows}


async def pending(connection: Reader, resource_id: UUID) -> AcceptedOperation | None:
    """Return the pending operation on a resource, or `None`."""
    query = select(*_ACCEPTED).where(
        OperationRow.resource_id == resource_id, OperationRow.state == OperationState.PENDING
    )
    return cast("AcceptedOperation | None", (await connection.execute(query)).one_or_none())


async def newest(connection: Reader, resource_ids: Sequence[UUID]) -> dict[UUID, OperationRecord]:
    """Return the newest stored operation on each resource that has one, by the resource's id."""
    rows = (await connection.execute(_NEWEST, {"resource_ids": resource_ids})).all()
    return {row.resource_id: cast("OperationRecord", row) for row in rows}


async def begin(
    connection: Writer,
    command: Command,
    resource_id: UUID,
    resource_name: str,
    *,
    deadline: float,
    request_id: str | None = None,
) -> AcceptedOperation:
    """Begin a pending operation, due at once, that may take `deadline` seconds."""
    new = New(uuid4(), command, resource_id, resource_name, deadline, None, request_id)
    return (await begin_all(connection, [new]))[0]


async def begin_all(connection: Writer, new: Sequence[New]) -> Sequence[AcceptedOperation]:
    """Begin pending operations, due at once. Return them in any order."""
    pending = {"state": OperationState.PENDING}
    return cast(
        "Sequence[AcceptedOperation]",
        (await connection.execute(_BEGIN, [one._asdict() | pending for one in new])).all(),
    )


async def record(
    connection: Writer,
    command: Command,
    resource_id: UUID,
    resource_name: str,
    *,
    model_name: str | None = None,
    request_id: str | None = None,
) -> AcceptedOperation:
    """Insert an operation that ended in success within its request. `model_name`: of a deployment's model."""
    values = {
        "id": uuid4(),
        "command": command,
        "resource_id": resource_id,
        "resource_name": resource_name,
        "model_name": model_name,
        "state": OperationState.SUCCESS,
        "request_id": request_id,
    }
    return (await connection.execute(_RECORD, values)).one()


async def expire(connection: Writer, *, limit: int) -> int:
    """Time out at most `limit` operations whose deadline has passed, but no paused one. Return their number."""
    message = "The deadline passed before the work was done. Retry to go on from what is there."
    late = (PENDING, ~OperationRow.paused, OperationRow.deadline_at < now())
    query = select(OperationRow.id, OperationRow.resource_id, OperationRow.command).where(*late)
    ended = 0
    for operation_id, resource_id, command in (
        await connection.execute(query.order_by("resource_id").limit(limit))
    ).all():
        await connection.execute(select(ModelRow.id).where(ModelRow.id == resource_id).with_for_update())
        this = and_(OperationRow.id == operation_id, *late)
        if await cancel_operation(connection, this, OperationState.TIMEOUT, Reason.INTERRUPTED, message):
            if await fail_model(connection, resource_id, command, Reason.INTERRUPTED, message):
                await webhooks.record(connection, Event.ERROR, resource_id)
            await mark_deleting(connection, resource_id, deleting=False)
            ended += 1
    return ended


async def purge(connection: Writer, *, retention: float, limit: int) -> int:
    """Delete at most `limit` operations that ended more than `retention` seconds ago. Return their number."""
    old = OperationRow.ended_at < moment(-retention)
    return (await connection.execute(delete_some(OperationRow, old, limit=limit))).rowcount


@dataclass(frozen=True, slots=True)
class Census:
    """The numbers of operations, and how long the one due longest has waited, in seconds."""

    by: Mapping[tuple[Command, OperationState], int]
    failed: Mapping[tuple[OperationState, Reason], int]
    """Only those of the last hour."""
    due: int
    oldest_due: float


async def census(connection: Reader) -> Census:
    """Count the stored operations. It reads all of them."""
    is_due = and_(PENDING, ~OperationRow.paused, ~is_later(OperationRow), ~is_held_up())
    columns: tuple[Any, ...] = (
        OperationRow.command,
        OperationRow.state,
        OperationRow.reason,
        func.count().label("number"),
        func.count(case((OperationRow.ended_at > moment(-_RECENTLY), 1))).label("recent"),
        func.count(case((is_due, 1))).label("due"),
        func.min(case((is_due, OperationRow.due_at))).label("since"),
        moment().label("now"),
    )
    query = select(*columns).group_by(OperationRow.command, OperationRow.state, OperationRow.reason)
    rows = (await connection.execute(query)).all()
    by: Counter[tuple[Command, OperationState]] = Counter()
    failed: Counter[tuple[OperationState, Reason]] = Counter()
    for row in rows:
        by[row.command, row.state] += row.number
        if row.reason:
            failed[row.state, row.reason] += row.recent
    return Census(
        by=by,
        failed=failed,
        due=sum(row.due for row in rows),
        oldest_due=max(((row.now - row.since).total_seconds() for row in rows if row.since), default=0.0),
    )


def unknown(operation_id: UUID) -> NotFound:
    return NotFound(f"There is no operation {operation_id}. Ended operations are forgotten after a while.")
