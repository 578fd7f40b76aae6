"""The audit: each requested change, recorded in that change's transaction, or in a separate one if refused."""

import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, case, func, insert, or_, select, tuple_, union_all

from app.db.access_tables import AuditRow, KeyRow
from app.db.clock import moment, now
from app.db.deletes import delete_some
from app.db.session import Reader, Writer
from app.db.tables import DeploymentRow, ModelRow
from app.services.access_rows import AuditRecord
from app.services.rows import AcceptedOperation

ACCEPTED = "accepted"
REFUSED = "refused"
OUTCOMES = (ACCEPTED, REFUSED)
"""What outcomes are called in lists. A record of what was refused has the status of the answer."""
_SORT_COLUMNS: Mapping[str, Any] = {
    "at": AuditRow.at,
    "action": AuditRow.action,
    "name": func.lower(AuditRow.resource_name),
    "key": func.lower(func.coalesce(AuditRow.key_name, AuditRow.key_id)),
    "address": AuditRow.address,
    "outcome": case((AuditRow.outcome != ACCEPTED, AuditRow.outcome), else_=""),
}
SORTS = ("-at", *_SORT_COLUMNS, *(f"-{name}" for name in _SORT_COLUMNS if name != "at"))
"""The sort keys of `find`; with a `-`, in descending order."""
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
    """Which records to show: `text` is a part of a name, a key or an address. Empty: any."""

    text: str = ""
    action: str = ""
    outcome: str = ""


async def find(connection: Reader, wanted: Filter, *, sort: str, limit: int, offset: int) -> Sequence[AuditRecord]:
    """Return at most `limit` records that are `wanted`, without the first `offset`; of equal ones the newest first."""
    column = _SORT_COLUMNS[sort.removeprefix("-")]
    if column is AuditRow.at:  # along the index, so that only one page is read
        order = [AuditRow.at.desc(), AuditRow.id.desc()] if sort.startswith("-") else [AuditRow.at, AuditRow.id]
    else:
        first = column.desc() if sort.startswith("-") else column.asc()
        order = [first.nulls_last(), AuditRow.at.desc(), AuditRow.id.desc()]
    query = select(*_SHOWN).where(*_conditions(wanted)).order_by(*order)
    return cast("Sequence[AuditRecord]", (await connection.execute(query.limit(limit).offset(offset))).all())


async def counts(connection: Reader, wanted: Filter) -> Mapping[str, int]:
    """Return the number of records of each outcome that match the rest of `wanted`. It reads all records."""
    accepted = case((AuditRow.outcome == ACCEPTED, 1), else_=0)
    query = select(func.count(), func.coalesce(func.sum(accepted), 0))
    number, good = (await connection.execute(query.where(*_conditions(replace(wanted, outcome=""))))).one()
    return dict(zip(OUTCOMES, (int(good), number - int(good)), strict=True))


async def following(
    connection: Reader, wanted: Filter, *, limit: int, before: UUID | None = None
) -> Sequence[AuditRecord]:
    """Return at most `limit` records that are `wanted`, the newest first, after the record `before`.

    The cost does not depend on how many came before.
    """
    query = _newest(limit).where(*_conditions(wanted))
    if before is not None:
        then = select(AuditRow.at).where(AuditRow.id == before).scalar_subquery()
        query = query.where(tuple_(AuditRow.at, AuditRow.id) < tuple_(then, before))
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
