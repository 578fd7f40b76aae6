"""The audit: each change that a caller asked for, in the transaction that made it, or on its own when it was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.clock import moment, now
from app.db.tables import AuditRow

ACCEPTED = "accepted"
_RECORD = insert(AuditRow).values(at=now())


@dataclass(slots=True, eq=False)
class Act:
    """Who asks for which change, from where, and by which request.

    What it is about is filled in once it is known: `resource_id`, or `other_key_id` where that is a key.
    """

    key_id: str
    action: str
    address: str
    request_id: str
    resource_id: UUID | None = None
    other_key_id: str | None = None


async def record(connection: AsyncConnection, acts: Sequence[Act], outcome: str) -> None:
    await connection.execute(
        _RECORD,
        [
            {
                "id": uuid4(),
                "key_id": act.key_id,
                "action": act.action,
                "resource_id": act.resource_id,
                "other_key_id": act.other_key_id,
                "address": act.address,
                "outcome": outcome,
            }
            for act in acts
        ],
    )


async def accept(connection: AsyncConnection, act: Act, resource_id: UUID) -> None:
    """Record that the change is made: in its own transaction, so that neither is there without the other."""
    await accept_all(connection, {act: resource_id})


async def accept_all(connection: AsyncConnection, acts: Mapping[Act, UUID]) -> None:
    """The same of several changes, each with what it is about."""
    for act, resource_id in acts.items():
        act.resource_id = resource_id
    if acts:
        await record(connection, list(acts), ACCEPTED)


async def accept_for_key(connection: AsyncConnection, act: Act, key_id: str) -> None:
    """The same of a change to a key."""
    act.other_key_id = key_id
    await record(connection, [act], ACCEPTED)


async def purge(connection: AsyncConnection, retention: float) -> int:
    """Forget what was asked for more than `retention` seconds ago; how many records that were."""
    return (await connection.execute(delete(AuditRow).where(AuditRow.at < moment(-retention)))).rowcount


async def latest(connection: AsyncConnection, limit: int, key_id: str | None = None) -> Sequence[Row[Any]]:
    """The newest `limit` records, oldest first; of one key only, if it is given."""
    columns: tuple[Any, ...] = (
        AuditRow.at,
        AuditRow.key_id,
        AuditRow.action,
        AuditRow.resource_id,
        AuditRow.other_key_id,
        AuditRow.address,
        AuditRow.outcome,
    )
    query = select(*columns).order_by(AuditRow.at.desc(), AuditRow.id).limit(limit)
    if key_id is not None:
        query = query.where(AuditRow.key_id == key_id)
    return (await connection.execute(query)).all()[::-1]
