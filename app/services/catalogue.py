"""Models as people look for them: by a part of the name and by status, sorted, a page at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import FileRow, ModelRow
from app.domain.states import ModelStatus
from app.services.models import SEEN

_SIZE = func.coalesce(ModelRow.model_size, ModelRow.total)
_CREATED: tuple[ColumnElement[Any], ...] = (ModelRow.created_at.expression, ModelRow.id.expression)
# By creation and by status they come in an index's order, so that a page is all that is read. The other two sort.
_COLUMNS: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    "name": (func.lower(ModelRow.name), ModelRow.id.expression),
    "status": (ModelRow.status.expression, *_CREATED),
    "size": (_SIZE, ModelRow.id.expression),
    "created": _CREATED,
}
SORTS = (*_COLUMNS, *(f"-{name}" for name in _COLUMNS))
"""What a search may be sorted by; with a `-`, the other way round."""
NEWEST_FIRST = "-created"


@dataclass(frozen=True, slots=True)
class Search:
    """Which models are looked for, and in which order."""

    text: str = ""
    status: ModelStatus | None = None
    sort: str = NEWEST_FIRST


async def find(connection: AsyncConnection, search: Search, *, limit: int, offset: int) -> Sequence[Row[Any]]:
    """At most `limit` of the models that `search` is for, without the first `offset`. An unknown size comes last."""
    columns = _COLUMNS[search.sort.removeprefix("-")]
    order = [column.desc() if search.sort.startswith("-") else column.asc() for column in columns]
    if columns[0] is _SIZE:
        order[0] = order[0].nulls_last()
    query = select(*SEEN).where(*_conditions(search)).order_by(*order)
    rows: Sequence[Row[Any]] = (await connection.execute(query.limit(limit).offset(offset))).all()
    return rows


class Total(NamedTuple):
    """How many models, and the bytes of all of them."""

    number: int
    size: int


Totals = Mapping[ModelStatus, Total]


async def totals(connection: AsyncConnection) -> Totals:
    """Of each status. One pass over all models: worth remembering where these are many."""
    query = select(ModelRow.status, func.count(), func.coalesce(func.sum(_SIZE), 0)).group_by(ModelRow.status)
    found = {status: Total(number, int(size)) for status, number, size in (await connection.execute(query)).all()}
    return {status: found.get(status, Total(0, 0)) for status in ModelStatus}


async def count(connection: AsyncConnection, search: Search, known: Totals) -> Total:
    """Of the models that `search` is for. A part of a name is looked for; the rest is in `known`."""
    if search.text:
        query = select(func.count(), func.coalesce(func.sum(_SIZE), 0)).select_from(ModelRow)
        number, size = (await connection.execute(query.where(*_conditions(search)))).one()
        return Total(number, int(size))
    chosen = [known[search.status]] if search.status is not None else known.values()
    return Total(sum(total.number for total in chosen), sum(total.size for total in chosen))


async def files(connection: AsyncConnection, model_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """The first `limit` files that are known of a model, by path."""
    columns: tuple[Any, ...] = (FileRow.path, FileRow.size, FileRow.sha256)
    query = select(*columns).where(FileRow.model_id == model_id).order_by(FileRow.path).limit(limit)
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return rows


async def paths(connection: AsyncConnection, model_id: UUID, endings: Sequence[str], *, limit: int) -> Sequence[str]:
    """The first `limit` paths that end with one of `endings`, in any case."""
    ends = or_(*(FileRow.path.iendswith(ending, autoescape=True) for ending in endings))
    query = select(FileRow.path).where(FileRow.model_id == model_id, ends).order_by(FileRow.path).limit(limit)
    return (await connection.execute(query)).scalars().all()


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if search.text:
        conditions.append(ModelRow.name.icontains(search.text, autoescape=True))
    if search.status is not None:
        conditions.append(ModelRow.status == search.status)
    return conditions
