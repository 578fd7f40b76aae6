"""The audit: each requested change, recorded in that change's transaction, or in a separate one if refused."""

import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, insert, or_, select, tuple_, union_all

from app.db.access_tables import AuditRow, KeyRow
from app.db.clock import moment, now
from app.db.deletes import delete_some
from app.db.session import Reader, Writer
from app.db.tables import DeploymentRow, ModelRow
from app.services.access_rows import AuditRecord
from app.services.rows import AcceptedOperation

ACCEPTED = "accepted"
OUTCOMES = (ACCEPTED, "refused")
SORTS = ("-at", "at")
"""The sort keys of a page: the newest first, or the oldest."""
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
"""The most characters of a key's id and of an address."""


@dataclass(slots=True, eq=False)
class Act:
    """A requested change, with its caller, address and request.

    Its resource is filled in once it is known: `resource_id`, or `other_key_id` if that is a key, and the name.
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
    """Return an act of the user who runs this process, without a key."""
    host, number = socket.gethostname(), os.getuid()
    try:
        user = pwd.getpwuid(number).pw_name
    except KeyError:  # such as a container's user
        user = str(number)
    return Act(f"cli:{user}@{host}"[:_LONGEST], action, host[:_LONGEST], "")


async def record(connection: Writer, acts: Sequence[Act], outcome: str) -> None:
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


async def accept(connection: Writer, act: Act, operation: AcceptedOperation) -> None:
    """Record an accepted change. Call it in the change's transaction, so that both are committed or neither."""
    await accept_all(connection, {act: operation})


async def accept_all(connection: Writer, acts: Mapping[Act, AcceptedOperation]) -> None:
    """Record several accepted changes, each with its operation, as `accept` does."""
    for act, operation in acts.items():
        act.resource_id, act.resource_name = operation.resource_id, operation.resource_name
    if acts:
        await record(connection, list(acts), ACCEPTED)


async def accept_named(connection: Writer, act: Act, name: str) -> None:
    """Record an accepted change without an operation, as `accept` does, to what has that name."""
    act.resource_name = name
    await record(connection, [act], ACCEPTED)


async def accept_for_key(connection: Writer, act: Act, key_id: str, name: str) -> None:
    """Record an accepted change to a key, as `accept` does."""
    act.other_key_id, act.resource_name = key_id, name
    await record(connection, [act], ACCEPTED)


async def refuse(connection: Writer, act: Act, outcome: str) -> None:
    """Record a refused change, with the name of its resource if that exists."""
    if act.resource_name is None and (act.resource_id or act.other_key_id):
        kinds: tuple[tuple[Any, Any, Any], ...] = (
            (ModelRow.name, ModelRow.id, act.resource_id),
            (DeploymentRow.name, DeploymentRow.id, act.resource_id),
            (KeyRow.name, KeyRow.id, act.other_key_id),
        )
        found = union_all(*(select(name).where(column == wanted) for name, column, wanted in kinds if wanted))
        act.resource_name = (await connection.execute(found)).scalars().first()
    await record(connection, [act], outcome)


async def purge(connection: Writer, *, retention: float, limit: int) -> int:
    """Delete at most `limit` records that are older than `retention` seconds. Return their number."""
    old = AuditRow.at < moment(-retention)
    return (await connection.execute(delete_some(AuditRow, old, limit=limit))).rowcount


async def latest(connection: Reader, limit: int, key_id: str | None = None) -> Sequence[AuditRecord]:
    """Return the newest `limit` records, oldest first; only those of one key, if it is given."""
    query = _newest(limit)
    if key_id is not None:
        query = query.where(AuditRow.key_id == key_id)
    return cast("Sequence[AuditRecord]", (await connection.execute(query)).all())[::-1]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records to show: `text` is a part of a name, a key or an address. Empty: any. `sort` is one of `SORTS`."""

    text: str = ""
    action: str = ""
    outcome: str = ""
    sort: str = "-at"


_ANY = Filter()


async def page(
    connection: Reader, *, limit: int, before: UUID | None = None, wanted: Filter = _ANY
) -> Sequence[AuditRecord]:
    """Return at most `limit` records that are `wanted`, starting after the record `before`."""
    oldest = wanted.sort == SORTS[1]
    order = [column.asc() if oldest else column.desc() for column in (AuditRow.at, AuditRow.id)]
    query = select(*_SHOWN).where(*_conditions(wanted)).order_by(*order).limit(limit)
    if before is not None:
        then = select(AuditRow.at).where(AuditRow.id == before).scalar_subquery()
        here, there = tuple_(AuditRow.at, AuditRow.id), tuple_(then, before)
        query = query.where(here > there if oldest else here < there)
    return cast("Sequence[AuditRecord]", (await connection.execute(query)).all())


async def actions(connection: Reader) -> Sequence[str]:
    """Return the actions that there are records of."""
    return (await connection.execute(select(AuditRow.action).distinct().order_by(AuditRow.action))).scalars().all()


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.text:
        columns = (AuditRow.resource_name, AuditRow.key_name, AuditRow.key_id, AuditRow.other_key_id, AuditRow.address)
        conditions.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if wanted.action:
        conditions.append(AuditRow.action == wanted.action)
    if wanted.outcome:
        accepted = AuditRow.outcome == ACCEPTED
        conditions.append(accepted if wanted.outcome == ACCEPTED else ~accepted)
    return conditions


def _newest(limit: int) -> Select[Any]:
    return select(*_SHOWN).order_by(AuditRow.at.desc(), AuditRow.id.desc()).limit(limit)
