"""The history of operations with the names of their resources, for people to read: newest first, or by a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, select, tuple_, union_all

from app.db.clock import moment, now, seconds
from app.db.session import Reader
from app.db.tables import PENDING, DeploymentRow, ModelRow, OperationRow
from app.db.transitions import is_later
from app.domain.commands import Command
from app.domain.keys import UNLIMITED, NameLimit
from app.domain.states import OperationState
from app.services.limits import OPERATIONS_MODEL, within
from app.services.operations import COLUMNS, RETRIES
from app.services.rows import FinishedDownload, HistoryRecord, UnderWay

_BRIEF = 0.5
"""Seconds: an operation that took less has no duration to tell, such as those that end when they are accepted."""
_FETCHED: ColumnElement[Any] = case((OperationRow.state == OperationState.SUCCESS, OperationRow.to_fetch))
_TOOK = seconds(OperationRow.ended_at) - seconds(OperationRow.created_at)
_ARRIVING = seconds(OperationRow.ended_at) - seconds(OperationRow.begun_at)
_FIGURES: Mapping[str, ColumnElement[Any]] = {
    "took": case((_TOOK >= _BRIEF, _TOOK)),
    "fetched": _FETCHED,
    "average": case((and_(_FETCHED > 0, _ARRIVING > 0), _FETCHED / _ARRIVING)),
}
_SORT_COLUMNS: Mapping[str, Any] = {"created": OperationRow.created_at, **_FIGURES}
SORTS = ("-created", "created", *_FIGURES, *(f"-{name}" for name in _FIGURES))
"""The sort keys of `find`; with a `-`, in descending order."""
_SHOWN: tuple[Any, ...] = (
    *COLUMNS,
    OperationRow.created_at,
    OperationRow.ended_at,
    OperationRow.due_at,
    OperationRow.attempts,
    RETRIES,
    OperationRow.request_id,
    OperationRow.lease_owner,
    OperationRow.leased_at,
    OperationRow.begun_at,
    OperationRow.to_fetch,
    moment().label("now"),
    is_later(OperationRow).label("later"),
    OperationRow.paused,
    func.coalesce(OperationRow.resource_name, ModelRow.name, DeploymentRow.name).label("subject"),
    ModelRow.id.label("model_id"),
    *(figure.label(name) for name, figure in _FIGURES.items()),
)
"""`subject` is the resource's name, `model_id` its id if it is a model that still exists.

With a `lease_owner`, `later` tells whether the lease is still held; without one, whether the operation waits.
"""


@dataclass(frozen=True, slots=True)
class Search:
    """Which ended operations to show: of a state, of a command, of a model or deployment (None: any), in reach."""

    state: OperationState | None = None
    command: Command | None = None
    reach: NameLimit = UNLIMITED
    resource_id: UUID | None = None


async def of(connection: Reader, resource_id: UUID, *, limit: int) -> Sequence[HistoryRecord]:
    """Return the newest operations on one model or deployment."""
    query = _shown().where(OperationRow.resource_id == resource_id).order_by(OperationRow.created_at.desc())
    return cast("Sequence[HistoryRecord]", (await connection.execute(query.limit(limit))).all())


async def page(
    connection: Reader,
    *,
    limit: int,
    state: OperationState | None = None,
    command: Command | None = None,
    before: UUID | None = None,
    reach: NameLimit = UNLIMITED,
    ended: bool = False,
    oldest: bool = False,
) -> Sequence[HistoryRecord]:
    """Return at most `limit` operations in reach, in that state and of that command, newest first, after `before`.

    With `ended`, none that is pending; with `oldest`, the oldest first. The cost does not depend on their number: an
    index gives the first of each pair of a state and a command, and the first of all these are returned.
    """
    states = [state] if state else [one for one in OperationState if not ended or one is not OperationState.PENDING]
    pairs = product(states, [command] if command else Command)
    each = [_first(*pair, before, limit, reach, oldest).subquery() for pair in pairs]
    found = union_all(*(select(one.c.id, one.c.created_at) for one in each)).subquery()
    ids = select(found.c.id).order_by(*_in_order(found.c, oldest)).limit(limit)
    query = _shown().where(OperationRow.id.in_(ids)).order_by(*_in_order(OperationRow, oldest))
    return cast("Sequence[HistoryRecord]", (await connection.execute(query)).all())


async def find(connection: Reader, search: Search, *, sort: str, limit: int, offset: int) -> Sequence[HistoryRecord]:
    """Return at most `limit` ended operations, sorted, without the first `offset`; of equal ones the newest first.

    Those without the figure come last, in both directions. It reads all ended operations, or all of the resource.
    """
    figure = _SORT_COLUMNS[sort.removeprefix("-")]
    first = figure.desc() if sort.startswith("-") else figure.asc()
    order = [first.nulls_last(), *_in_order(OperationRow, oldest=False)]
    ids = _ended(select(OperationRow.id), search).order_by(*order).limit(limit).offset(offset)
    query = _shown().where(OperationRow.id.in_(ids)).order_by(*order)
    return cast("Sequence[HistoryRecord]", (await connection.execute(query)).all())


async def count(connection: Reader, search: Search) -> int:
    """Return the number of operations that `find` finds. It reads all ended operations."""
    query = _ended(select(func.count()).select_from(OperationRow), search)
    return int((await connection.execute(query)).scalar_one())


async def under_way(connection: Reader, *, limit: int, reach: NameLimit = UNLIMITED) -> Sequence[UnderWay]:
    """Return the first `limit` pending operations in reach: those that a worker holds, then those due first."""
    query = _shown().add_columns(ModelRow.downloaded, ModelRow.total, ModelRow.rate).where(PENDING)
    query = query.where(*within(reach, OPERATIONS_MODEL))
    held = and_(OperationRow.lease_owner.is_not(None), is_later(OperationRow))
    order = case((held, 0), else_=1), OperationRow.due_at, OperationRow.id
    return cast("Sequence[UnderWay]", (await connection.execute(query.order_by(*order).limit(limit))).all())


async def clock(connection: Reader) -> datetime:
    """Return the database's time, to ask `finished_downloads` from then on."""
    return (await connection.execute(select(now()))).scalar_one()


async def finished_downloads(
    connection: Reader, since: datetime, *, limit: int, reach: NameLimit = UNLIMITED
) -> Sequence[FinishedDownload]:
    """Return the first `limit` downloads in reach that ended after `since` and that nobody cancelled, oldest first."""
    # SQLite keeps fractions of a microsecond, and Python does not: what ended at `since` was told.
    since += timedelta(microseconds=1)
    columns: tuple[Any, ...] = (
        OperationRow.id,
        OperationRow.state,
        OperationRow.resource_id,
        ModelRow.name,
        OperationRow.message,
        OperationRow.ended_at,
    )
    query = (
        select(*columns)
        .join(ModelRow, ModelRow.id == OperationRow.resource_id)
        .where(OperationRow.ended_at > since, OperationRow.command == Command.CREATE_MODEL, ~ModelRow.deleting)
        .where(*within(reach, ModelRow.name))
        .order_by(OperationRow.ended_at, OperationRow.id)
    )
    return cast("Sequence[FinishedDownload]", (await connection.execute(query.limit(limit))).all())


def _first(
    state: OperationState, command: Command, before: UUID | None, limit: int, reach: NameLimit, oldest: bool
) -> Select[Any]:
    columns: tuple[Any, ...] = (OperationRow.id, OperationRow.created_at)
    query = select(*columns).where(OperationRow.state == state, OperationRow.command == command)
    query = _in_reach(query, reach)
    if before is not None:
        then = select(OperationRow.created_at).where(OperationRow.id == before).scalar_subquery()
        here, there = tuple_(OperationRow.created_at, OperationRow.id), tuple_(then, before)
        query = query.where(here > there if oldest else here < there)
    return query.order_by(*_in_order(OperationRow, oldest)).limit(limit)


def _ended(query: Select[Any], search: Search) -> Select[Any]:
    query = query.where(OperationRow.state == search.state if search.state else ~PENDING)
    if search.command:
        query = query.where(OperationRow.command == search.command)
    if search.resource_id:
        query = query.where(OperationRow.resource_id == search.resource_id)
    return _in_reach(query, search.reach)


def _in_reach(query: Select[Any], reach: NameLimit) -> Select[Any]:
    if not reach:
        return query
    joined = query.outerjoin(ModelRow, ModelRow.id == OperationRow.resource_id)
    return joined.where(*within(reach, OPERATIONS_MODEL))


def _in_order(operations: Any, oldest: bool) -> list[Any]:
    return [column.asc() if oldest else column.desc() for column in (operations.created_at, operations.id)]


def _shown() -> Select[Any]:
    model = ModelRow.id == OperationRow.resource_id
    deployment = DeploymentRow.id == OperationRow.resource_id
    joined = select(*_SHOWN).select_from(OperationRow).outerjoin(ModelRow, model)
    return joined.outerjoin(DeploymentRow, deployment)
