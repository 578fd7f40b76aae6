"""Search for models by a part of the name and by status, sorted, a page at a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select

from app.db.session import Reader
from app.db.tables import FileRow, ModelRow
from app.domain.keys import UNLIMITED, NameLimit
from app.domain.states import DELETING, LISTED, PAUSED, UNDER_WAY, ModelStatus
from app.services.limits import within
from app.services.models import COLUMNS
from app.services.rows import FileRecord, ModelRecord

_SIZE = func.coalesce(ModelRow.model_size, ModelRow.total)
_CREATED: tuple[ColumnElement[Any], ...] = (ModelRow.created_at.expression, ModelRow.id.expression)
# Creation and status follow an index, so that only one page is read. The other two need a sort.
_SORT_COLUMNS: Mapping[str, tuple[ColumnElement[Any], ...]] = {
    "name": (func.lower(ModelRow.name), ModelRow.id.expression),
    "status": (ModelRow.status.expression, *_CREATED),
    "size": (_SIZE, ModelRow.id.expression),
    "created": _CREATED,
}
SORTS = (*_SORT_COLUMNS, *(f"-{name}" for name in _SORT_COLUMNS))
"""The sort keys of a search; with a `-`, in descending order."""
NEWEST_FIRST = "-created"
FILE_SORTS = ("path", "-path", "size", "-size")
"""The sort keys of `files`, likewise."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search's conditions and order. `status` is one of `LISTED`."""

    text: str = ""
    status: str | None = None
    sort: str = NEWEST_FIRST
    limit: NameLimit = UNLIMITED


async def find(connection: Reader, search: Search, *, limit: int, offset: int) -> Sequence[ModelRecord]:
    """Return at most `limit` models that match `search`, without the first `offset`. Unknown sizes come last."""
    columns = _SORT_COLUMNS[search.sort.removeprefix("-")]
    order = [column.desc() if search.sort.startswith("-") else column.asc() for column in columns]
    if columns[0] is _SIZE:
        order[0] = order[0].nulls_last()
    query = select(*COLUMNS).where(*_conditions(search)).order_by(*order)
    return cast("Sequence[ModelRecord]", (await connection.execute(query.limit(limit).offset(offset))).all())


class Total(NamedTuple):
    """The number of models, and their total size in bytes."""

    number: int
    size: int


Totals = Mapping[str, Total]
"""By the words of `LISTED`."""


async def totals(connection: Reader, limit: NameLimit = UNLIMITED) -> Totals:
    """Return the totals within the limit. It reads all models: worth caching if these are many."""
    kinds: tuple[Any, ...] = (ModelRow.deleting, ModelRow.paused, ModelRow.status)
    columns: tuple[Any, ...] = (*kinds, func.count(), func.coalesce(func.sum(_SIZE), 0))
    query = select(*columns).where(*within(limit, ModelRow.name)).group_by(*kinds)
    numbers, sizes = Counter[str](), Counter[str]()
    for deleting, paused, status, number, size in (await connection.execute(query)).all():
        word = DELETING if deleting else PAUSED if paused else status
        numbers[word] += number
        sizes[word] += int(size)
    return {word: Total(numbers[word], sizes[word]) for word in LISTED}


def digest(totals: Totals) -> str:
    """Return what changes when models come, go, or have another status."""
    return blake2s(repr(totals).encode(), digest_size=6).hexdigest()


async def count(connection: Reader, search: Search, known: Totals) -> Total:
    """Return the total of the models that match `search`. Only a search by name needs a query; `known` has the rest."""
    if search.text:
        query = select(func.count(), func.coalesce(func.sum(_SIZE), 0)).select_from(ModelRow)
        number, size = (await connection.execute(query.where(*_conditions(search)))).one()
        return Total(number, int(size))
    chosen = [known[search.status]] if search.status is not None else known.values()
    return Total(sum(total.number for total in chosen), sum(total.size for total in chosen))


async def files(
    connection: Reader, model_id: UUID, *, text: str, sort: str, limit: int, offset: int
) -> Sequence[FileRecord]:
    """Return at most `limit` recorded files of a model whose paths hold `text`, without the first `offset`, sorted."""
    column = FileRow.size if sort.endswith("size") else FileRow.path
    columns: tuple[Any, ...] = (FileRow.path, FileRow.size, FileRow.sha256)
    query = select(*columns).where(*_files(model_id, text))
    query = query.order_by(column.desc() if sort.startswith("-") else column.asc(), FileRow.path)
    return cast("Sequence[FileRecord]", (await connection.execute(query.limit(limit).offset(offset))).all())


async def count_files(connection: Reader, model_id: UUID, text: str) -> int:
    """Return the number of files that `files` finds."""
    query = select(func.count()).select_from(FileRow).where(*_files(model_id, text))
    return int((await connection.execute(query)).scalar_one())


async def paths(connection: Reader, model_id: UUID, endings: Sequence[str], *, limit: int) -> Sequence[str]:
    """Return the first `limit` paths that end with one of `endings`, in upper or lower case."""
    ends = or_(*(FileRow.path.iendswith(ending, autoescape=True) for ending in endings))
    query = select(FileRow.path).where(FileRow.model_id == model_id, ends).order_by(FileRow.path).limit(limit)
    return (await connection.execute(query)).scalars().all()


def _files(model_id: UUID, text: str) -> list[ColumnElement[bool]]:
    held = [FileRow.path.icontains(text, autoescape=True)] if text else []
    return [FileRow.model_id == model_id, *held]


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    conditions = within(search.limit, ModelRow.name)
    if search.text:
        conditions.append(ModelRow.name.icontains(search.text, autoescape=True))
    if search.status is not None:
        conditions.append(ModelRow.deleting.is_(search.status == DELETING))
    if search.status == PAUSED:
        conditions += [ModelRow.status.in_(UNDER_WAY), ModelRow.paused.expression]
    elif search.status not in {None, DELETING}:
        conditions += [ModelRow.status == ModelStatus(search.status), ~ModelRow.paused]
    return conditions
