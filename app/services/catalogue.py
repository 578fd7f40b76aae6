"""Models as people look for them: by a part of the name and by status, sorted, a page at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import FileRow, ModelRow
from app.domain.states import ModelStatus
from app.services.models import SEEN

_SIZE = func.coalesce(ModelRow.model_size, ModelRow.total)
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "name": func.lower(ModelRow.name),
    "status": ModelRow.status.expression,
    "size": _SIZE,
    "created": ModelRow.created_at.expression,
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
    """At most `limit` of the models that `search` is for, without the first `offset`."""
    column = _COLUMNS[search.sort.removeprefix("-")]
    order = column.desc() if search.sort.startswith("-") else column.asc()
    query = select(*SEEN).where(*_conditions(search)).order_by(order.nulls_last(), ModelRow.id)
    rows: Sequence[Row[Any]] = (await connection.execute(query.limit(limit).offset(offset))).all()
    return rows


async def count(connection: AsyncConnection, search: Search) -> tuple[int, int]:
    """How many models `search` is for, and the bytes of all of them."""
    query = select(func.count(), func.coalesce(func.sum(_SIZE), 0)).select_from(ModelRow).where(*_conditions(search))
    number, size = (await connection.execute(query)).one()
    return number, int(size)


async def by_status(connection: AsyncConnection) -> dict[ModelStatus, int]:
    """How many models there are in each status; without those that none is in."""
    query = select(ModelRow.status, func.count()).group_by(ModelRow.status)
    return {row[0]: row[1] for row in (await connection.execute(query)).all()}


async def files(connection: AsyncConnection, model_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """The first `limit` files that are known of a model, by path."""
    columns: tuple[Any, ...] = (FileRow.path, FileRow.size, FileRow.sha256)
    query = select(*columns).where(FileRow.model_id == model_id).order_by(FileRow.path).limit(limit)
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return rows


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if search.text:
        conditions.append(ModelRow.name.icontains(search.text, autoescape=True))
    if search.status is not None:
        conditions.append(ModelRow.status == search.status)
    return conditions
