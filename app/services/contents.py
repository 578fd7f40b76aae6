"""The disk usage of models, computed from their recorded files: the disk is not read.

Files with the same checksum count as one linked file. This is true of all large files, unless the storage has no hard
links; small files for which the Hub gives no SHA-256 may be stored once for each model.
"""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, case, cast, exists, func, literal, select, union_all

from app.db.session import Reader
from app.db.tables import FileRow, ModelRow
from app.domain.states import ModelStatus
from app.services.rows import ModelShare

SORTS = ("-size", "size", "name", "-name", "own", "-own", "shared", "-shared")
"""The sort keys of `largest`; with a `-`, in descending order."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Sizes in bytes."""

    listed: int
    """Every file of every model."""
    own: int
    """Each content that only one model has, counted once."""
    shared: int
    """Each content that several models have, counted once."""
    arriving: int
    """Downloaded so far of models that are not ready."""

    @property
    def saved(self) -> int:
        """The difference from the size with every file stored separately."""
        return self.listed - self.own - self.shared


async def total(connection: Reader) -> Contents:
    """Return the sums. It reads an index of all files: worth caching for a while."""
    sizes = func.sum(FileRow.size).label("listed"), func.max(FileRow.size).label("size")
    # In two steps, in the index's order: PostgreSQL neither sorts nor stores all checksums.
    of_a_model = select(FileRow.sha256, *sizes).group_by(FileRow.sha256, FileRow.model_id).subquery()
    columns = (
        func.sum(of_a_model.c.listed).label("listed"),
        func.max(of_a_model.c.size).label("size"),
        func.count().label("models"),
    )
    each = select(*columns).group_by(of_a_model.c.sha256).subquery()
    under_way = [status for status in ModelStatus if status != ModelStatus.READY]
    arriving = select(_sum(ModelRow.downloaded.expression)).where(ModelRow.status.in_(under_way))
    sums = (
        _sum(each.c.listed),
        _sum(case((each.c.models == 1, each.c.size))),
        _sum(case((each.c.models > 1, each.c.size))),
        arriving.scalar_subquery(),
    )
    listed, own, shared, so_far = (await connection.execute(select(*sums))).one()
    return Contents(listed, own, shared, so_far)


async def taken(connection: Reader, *, without: UUID | None, linked: bool) -> int:
    """Return the bytes that all models, or all but one, take, with what their downloads still need.

    `linked`: whether a content that several ready models have is kept once. What running downloads link counts twice.
    """
    others = [ModelRow.id != without] if without else []
    if linked:
        each = select(func.max(FileRow.size).label("size")).group_by(FileRow.sha256).subquery()
        ready = select(_sum(each.c.size))
    else:
        ready = select(_sum(ModelRow.model_size.expression)).where(ModelRow.status == ModelStatus.READY, *others)
    needs = case((ModelRow.status == ModelStatus.DOWNLOADING, ModelRow.total), else_=ModelRow.downloaded.expression)
    unfinished = select(_sum(needs)).where(ModelRow.status != ModelStatus.READY, *others)
    query = select(ready.scalar_subquery(), unfinished.scalar_subquery())
    kept, arriving = (await connection.execute(query)).one()
    return int(kept) + int(arriving)


async def largest(connection: Reader, limit: int, *, offset: int = 0, sort: str = "-size") -> Sequence[ModelShare]:
    """Return at most `limit` ready models that stay without the first `offset`: the largest first, or as `sort` says.

    Each with id, name, model_size, `own` and `shared` bytes as in `Contents`. By these two it reads an index of all files.
    """
    if sort.removeprefix("-") in {"own", "shared"}:
        return await _by_content(connection, sort, limit, offset)
    ready = select(ModelRow.id, ModelRow.name, ModelRow.model_size)
    ready = ready.where(ModelRow.status == ModelStatus.READY, ~ModelRow.deleting)
    top = ready.order_by(*_order(ModelRow, sort)).limit(limit).offset(offset).cte()
    columns = (FileRow.model_id, FileRow.sha256, func.max(FileRow.size).label("size"))
    # Not a join: SQLite would read the files of all models.
    of_top = select(*columns).where(FileRow.model_id.in_(select(top.c.id)))
    each = of_top.group_by(FileRow.model_id, FileRow.sha256).cte()
    other = FileRow.__table__.alias()
    elsewhere = exists().where(other.c.sha256 == each.c.sha256, other.c.model_id != each.c.model_id)
    own, shared = (_sum(case((which, each.c.size))) for which in (~elsewhere, elsewhere))
    shown: tuple[Any, ...] = (*top.c, own.label("own"), shared.label("shared"))
    query = select(*shown).outerjoin(each, each.c.model_id == top.c.id).group_by(*top.c)
    return typing.cast("Sequence[ModelShare]", (await connection.execute(query.order_by(*_order(top.c, sort)))).all())


async def _by_content(connection: Reader, sort: str, limit: int, offset: int) -> Sequence[ModelShare]:
    having, none = func.count().over(partition_by=FileRow.sha256).label("models"), literal(0)
    columns = FileRow.model_id, func.max(FileRow.size).label("size"), having, none.label("listed")
    of_files = select(*columns).group_by(FileRow.sha256, FileRow.model_id)
    ready = select(ModelRow.id, none, none, literal(1)).where(ModelRow.status == ModelStatus.READY, ~ModelRow.deleting)
    # Not a join: PostgreSQL would compare each with each where it has not analysed the tables yet.
    each = union_all(of_files, ready).subquery()
    own, shared = (_sum(case((which, each.c.size))) for which in (each.c.models == 1, each.c.models > 1))
    sums = select(each.c.model_id.label("id"), own.label("own"), shared.label("shared")).group_by(each.c.model_id)
    figures = sums.having(func.max(each.c.listed) == 1).subquery()
    top = select(figures).order_by(*_order(figures.c, sort)).limit(limit).offset(offset).cte()
    shown = select(top.c.id, ModelRow.name, ModelRow.model_size, top.c.own, top.c.shared)
    query = shown.join(ModelRow, ModelRow.id == top.c.id).order_by(*_order(top.c, sort))
    return typing.cast("Sequence[ModelShare]", (await connection.execute(query)).all())


def _order(models: Any, sort: str) -> tuple[Any, ...]:
    name = sort.removeprefix("-")
    column = func.lower(models.name) if name == "name" else getattr(models, "model_size" if name == "size" else name)
    return (column.desc().nulls_last() if sort.startswith("-") else column.asc().nulls_last()), models.id


async def share(connection: Reader, *model_ids: UUID) -> tuple[int, int]:
    """Return the bytes that only these models have, and those that others have, too: what their delete frees, or not."""
    columns = FileRow.sha256, func.max(FileRow.size).label("size")
    each = select(*columns).where(FileRow.model_id.in_(model_ids)).group_by(FileRow.sha256).cte()
    other = FileRow.__table__.alias()
    elsewhere = exists().where(other.c.sha256 == each.c.sha256, other.c.model_id.not_in(model_ids))
    own, shared = (_sum(case((which, each.c.size))) for which in (~elsewhere, elsewhere))
    found = (await connection.execute(select(own, shared).select_from(each))).one()
    return int(found[0]), int(found[1])


def _sum(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # PostgreSQL's sum of integers is a decimal number.
    return cast(func.coalesce(func.sum(column), 0), BigInteger)
