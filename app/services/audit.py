"""The audit: each change that a caller asked for, in the transaction that made it, or on its own when it was refused."""

import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, Select, delete, insert, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.clock import moment, now
from app.db.tables import AuditRow, DeploymentRow, KeyRow, ModelRow

ACCEPTED = "accepted"
_SHOWN: tuple[Any, ...] = (
    AuditRow.id,
    AuditRow.at,
    AuditRow.key_id,
    AuditRow.key_name,
    AuditRow.action,
    AuditRow.resource_id,
    AuditRow.resource_name,
    AuditRow.other_key_id,
    AuditRow.address,
    AuditRow.outcome,
)
_RECORD = insert(AuditRow).values(at=now())
_LONGEST = 64
"""Characters of a key's id and of an address."""


@dataclass(slots=True, eq=False)
class Act:
    """Who asks for which change, from where, and by which request.

    What it is about is filled in once it is known: `resource_id`, or `other_key_id` where that is a key, and its name.
    """

    key_id: str
    action: str
    address: str
    request_id: str
    resource_id: UUID | None = None
    other_key_id: str | None = None
    key_name: str | None = None
    resource_name: str | None = None


def by_shell(action: str) -> Act:
    """What the user of this machine who runs this process does without a key."""
    host, number = socket.gethostname(), os.getuid()
    try:
        user = pwd.getpwuid(number).pw_name
    except KeyError:  # as a container's user
        user = str(number)
    return Act(f"cli:{user}@{host}"[:_LONGEST], action, host[:_LONGEST], "")


async def record(connection: AsyncConnection, acts: Sequence[Act], outcome: str) -> None:
    await connection.execute(
        _RECORD,
        [
            {
                "id": uuid4(),
                "key_id": act.key_id,
                "key_name": act.key_name,
                "action": act.action,
                "resource_id": act.resource_id,
                "resource_name": act.resource_name,
                "other_key_id": act.other_key_id,
                "address": act.address,
                "outcome": outcome,
            }
            for act in acts
        ],
    )


async def accept(connection: AsyncConnection, act: Act, operation: Row[Any]) -> None:
    """Record that the change is made: in its own transaction, so that neither is there without the other."""
    await accept_all(connection, {act: operation})


async def accept_all(connection: AsyncConnection, acts: Mapping[Act, Row[Any]]) -> None:
    """The same of several changes, each with its operation."""
    for act, operation in acts.items():
        act.resource_id, act.resource_name = operation.resource_id, operation.resource_name
    if acts:
        await record(connection, list(acts), ACCEPTED)


async def accept_for_key(connection: AsyncConnection, act: Act, key_id: str, name: str) -> None:
    """The same of a change to a key."""
    act.other_key_id, act.resource_name = key_id, name
    await record(connection, [act], ACCEPTED)


async def refuse(connection: AsyncConnection, act: Act, outcome: str) -> None:
    """Record that the change was refused, with the name of what it was about if that is there."""
    if act.resource_name is None and (act.resource_id or act.other_key_id):
        kinds: tuple[tuple[Any, Any, Any], ...] = (
            (ModelRow.name, ModelRow.id, act.resource_id),
            (DeploymentRow.name, DeploymentRow.id, act.resource_id),
            (KeyRow.name, KeyRow.id, act.other_key_id),
        )
        found = union_all(*(select(name).where(column == wanted) for name, column, wanted in kinds if wanted))
        act.resource_name = (await connection.execute(found)).scalars().first()
    await record(connection, [act], outcome)


async def purge(connection: AsyncConnection, retention: float) -> int:
    """Forget what was asked for more than `retention` seconds ago; how many records that were."""
    return (await connection.execute(delete(AuditRow).where(AuditRow.at < moment(-retention)))).rowcount


async def latest(connection: AsyncConnection, limit: int, key_id: str | None = None) -> Sequence[Row[Any]]:
    """The newest `limit` records, oldest first; of one key only, if it is given."""
    query = _newest(limit)
    if key_id is not None:
        query = query.where(AuditRow.key_id == key_id)
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return rows[::-1]


async def page(connection: AsyncConnection, *, limit: int, before: UUID | None = None) -> Sequence[Row[Any]]:
    """At most `limit` records, the newest first, from the one that follows `before`."""
    query = _newest(limit)
    if before is not None:
        then = select(AuditRow.at).where(AuditRow.id == before).scalar_subquery()
        query = query.where(tuple_(AuditRow.at, AuditRow.id) < tuple_(then, before))
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return rows


def _newest(limit: int) -> Select[Any]:
    return select(*_SHOWN).order_by(AuditRow.at.desc(), AuditRow.id.desc()).limit(limit)
