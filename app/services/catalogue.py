"""Models as people look for them: by a part of the name and by status, sorted, a page at a time; and what they take."""

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

NEWEST_FIRST = "-created"


@dataclass(frozen=True, slots=True)
class Search:
    """Which models are looked for, and in which order."""

    text: str = ""
    status: ModelStatus | None = None
    sort: str = NEWEST_FIRST


@dataclass(frozen=True, slots=True)
class Content:
    """What the files of all ready models come to, in bytes: each as often as it is listed, and each content once."""

    listed: int
    distinct: int


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
    """How many models there are in each status."""
    query = select(ModelRow.status, func.count()).group_by(ModelRow.status)
    return dict.fromkeys(ModelStatus, 0) | {row[0]: row[1] for row in (await connection.execute(query)).all()}


async def content(connection: AsyncConnection) -> Content:
    """One pass over all files. A content that several models have is kept once where the Hub allows it."""
    per_content = select(func.max(FileRow.size).label("size"), func.sum(FileRow.size).label("listed"))
    contents = per_content.group_by(FileRow.sha256).subquery()
    total = (func.coalesce(func.sum(contents.c.listed), 0), func.coalesce(func.sum(contents.c.size), 0))
    listed, distinct = (await connection.execute(select(*total))).one()
    return Content(int(listed), int(distinct))


async def arriving(connection: AsyncConnection) -> int:
    """Bytes that arrived of models that are not ready."""
    query = select(func.coalesce(func.sum(ModelRow.downloaded), 0)).where(ModelRow.status != ModelStatus.READY)
    return int((await connection.execute(query)).scalar_one() or 0)


async def largest(connection: AsyncConnection, limit: int) -> Sequence[Row[Any]]:
    """The largest ready models: id, name, model_size, and of these the bytes whose content another model has, too."""
    top = select(ModelRow.id, ModelRow.name, ModelRow.model_size).where(ModelRow.status == ModelStatus.READY)
    models = top.order_by(ModelRow.model_size.desc().nulls_last(), ModelRow.id).limit(limit).subquery()
    other = FileRow.__table__.alias("other")
    elsewhere = select(other.c.path).where(other.c.sha256 == FileRow.sha256, other.c.model_id != FileRow.model_id)
    shared = select(func.coalesce(func.sum(FileRow.size), 0)).where(FileRow.model_id == models.c.id)
    columns = (models, shared.where(elsewhere.exists()).scalar_subquery().label("shared"))
    query = select(*columns).order_by(models.c.model_size.desc().nulls_last(), models.c.id)
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return rows


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
