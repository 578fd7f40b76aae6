"""Which download fetches which content: each is fetched once, and other downloads wait for it and link it.

Before its first byte, a download claims all contents that no other one fetches; after it has fetched these, it waits
for the rest. So two never wait for each other: what one waits for is being fetched, or may be taken over.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, insert, literal_column, or_, select, update
from sqlalchemy.orm import aliased

from app.db.clock import moment
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import FetchRow, OperationRow, WaitRow
from app.db.transitions import Lease, LeaseLost, held, is_later
from app.domain.states import OperationState

_AT_ONCE = 1000
"""Rows or values in one statement."""
_SOON = 15.0
"""Seconds within which a download that lost its worker, or is due for a retry, resumes from what it has."""


class Fetch(NamedTuple):
    """A content that another operation has claimed."""

    sha256: str
    model_id: UUID
    name: str | None
    """The name of that model."""
    path: str
    """The path in that model."""
    arrived: bool
    goes_on: bool
    """Whether its download runs or soon resumes. If not, and the content has not arrived, it may be taken over."""


async def by_others(connection: Reader, operation_id: UUID, checksums: Sequence[str]) -> list[Fetch]:
    """Return the subset of the contents that other operations have claimed."""
    found = []
    for start in range(0, len(checksums), _AT_ONCE):
        columns: tuple[Any, ...] = (
            FetchRow.sha256,
            OperationRow.resource_id,
            OperationRow.resource_name,
            FetchRow.path,
            FetchRow.arrived,
            _goes_on(OperationRow),
        )
        query = select(*columns).join(OperationRow, OperationRow.id == FetchRow.operation_id)
        query = query.where(FetchRow.sha256.in_(checksums[start : start + _AT_ONCE]), OperationRow.id != operation_id)
        found += [Fetch(*row) for row in (await connection.execute(query)).all()]
    return found


async def claim(connection: Writer, lease: Lease, contents: Iterable[tuple[str, str]]) -> None:
    """Claim each (sha256, path), unless an operation that runs or soon resumes has claimed it. Raises `LeaseLost`.

    Contents that this operation had claimed before count as not arrived.
    """
    await _hold(connection, lease)
    mine = FetchRow.operation_id == lease.operation_id
    owner = aliased(OperationRow)
    # A literal: SQLAlchemy can't correlate with the row that an INSERT conflicts with, and would read the whole table.
    taken = exists().where(owner.id == literal_column("fetches.operation_id"), _goes_on(owner))
    statement = INSERT[connection.dialect.name](FetchRow)
    statement = statement.values(
        sha256=bindparam("sha256"), path=bindparam("path"), operation_id=lease.operation_id, arrived=False
    ).on_conflict_do_update(
        index_elements=[FetchRow.sha256],
        set_={"operation_id": lease.operation_id, "path": statement.excluded.path, "arrived": False},
        where=or_(mine, ~taken),
    )
    # In one order: otherwise two concurrent claims could deadlock.
    if rows := [{"sha256": sha256, "path": path} for sha256, path in sorted(contents)]:
        await connection.execute(statement, rows)


async def arrived(connection: Writer, operation_id: UUID, checksums: Sequence[str]) -> None:
    """Mark contents as fetched by this operation: others may link them."""
    mine = and_(FetchRow.operation_id == operation_id, FetchRow.sha256 == bindparam("checksum"))
    rows = [{"checksum": checksum} for checksum in sorted(checksums)]
    await connection.execute(update(FetchRow).where(mine).values(arrived=True), rows)


async def wanted(connection: Reader, operation_id: UUID) -> list[tuple[UUID, str, int]]:
    """Return what others wait for and this operation has yet to fetch, each as (waiting operation, sha256, size)."""
    mine = (FetchRow.operation_id == operation_id, ~FetchRow.arrived, WaitRow.operation_id != operation_id)
    columns: tuple[Any, ...] = (WaitRow.operation_id, WaitRow.sha256, WaitRow.size)
    query = select(*columns).join(FetchRow, FetchRow.sha256 == WaitRow.sha256).where(*mine)
    # An operation with a lease is busy with other contents, and does not need these yet; nor does one that is paused.
    idle = (OperationRow.id == WaitRow.operation_id, OperationRow.lease_owner.is_(None), ~OperationRow.paused)
    return [(row[0], row[1], row[2]) for row in (await connection.execute(query.where(exists().where(*idle)))).all()]


async def pass_on(connection: Writer, lease: Lease, contents: Sequence[tuple[str, int]]) -> None:
    """Release claims on contents, each (sha256, size in bytes), and wait for them. Raises `LeaseLost`."""
    await _hold(connection, lease)
    mine = and_(FetchRow.operation_id == lease.operation_id, FetchRow.sha256 == bindparam("checksum"))
    rows = [{"checksum": sha256} for sha256, _ in sorted(contents)]
    await connection.execute(delete(FetchRow).where(mine), rows)
    waits = [{"operation_id": lease.operation_id, "sha256": sha256, "size": size} for sha256, size in contents]
    await connection.execute(INSERT[connection.dialect.name](WaitRow).on_conflict_do_nothing(), waits)


async def awaited(connection: Reader, operation_id: UUID) -> set[str]:
    """Return the checksums of the contents that an operation leaves to others."""
    query = select(WaitRow.sha256).where(WaitRow.operation_id == operation_id)
    return set((await connection.execute(query)).scalars())


async def wait_for(connection: Writer, operation_id: UUID, contents: Sequence[tuple[str, int]]) -> None:
    """Replace the contents, each as (sha256, size in bytes), that an operation leaves to others."""
    await connection.execute(delete(WaitRow).where(WaitRow.operation_id == operation_id))
    rows = [{"operation_id": operation_id, "sha256": sha256, "size": size} for sha256, size in contents]
    for start in range(0, len(rows), _AT_ONCE):
        await connection.execute(insert(WaitRow), rows[start : start + _AT_ONCE])


def is_held_up() -> ColumnElement[bool]:
    """Return a condition: the operation waits for a content that is still being fetched."""
    owner = aliased(OperationRow)
    return exists().where(
        WaitRow.operation_id == OperationRow.id,
        FetchRow.sha256 == WaitRow.sha256,
        FetchRow.operation_id != OperationRow.id,
        ~FetchRow.arrived,
        owner.id == FetchRow.operation_id,
        _goes_on(owner),
    )


async def _hold(connection: Writer, lease: Lease) -> None:
    """Lock the operation until this transaction ends. Raises `LeaseLost` if it has ended or was leased anew."""
    if (await connection.execute(select(OperationRow.id).where(held(lease)).with_for_update())).one_or_none() is None:
        raise LeaseLost


def _goes_on(row: Any) -> ColumnElement[bool]:
    """Return a condition: a worker runs the operation, or will soon run it again."""
    soon = or_(row.lease_owner.is_not(None), row.due_at < moment(_SOON))
    return and_(row.state == OperationState.PENDING, ~row.paused, is_later(row, grace=_SOON), soon)
