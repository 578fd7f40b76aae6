"""Whole lists, oldest first, in slices. A slice starts after the previous one's last row, even if that is deleted."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, Uuid, bindparam, select, tuple_, type_coerce
from sqlalchemy.types import NullType, TypeEngine

from app.db.access_tables import KeyRow
from app.db.session import Reader
from app.db.tables import DeploymentRow, FileRow, ModelRow
from app.domain.errors import BadRequest, Conflict
from app.domain.keys import UNLIMITED, NameLimit
from app.domain.states import ModelStatus
from app.services import deployments as deployment_service
from app.services import keys as key_service
from app.services import models as model_service
from app.services.limits import within
from app.services.rows import FileRecord, ModelRecord, Placed

_NUMBER = bindparam("number", type_=Integer())


def _place(row: Any) -> ColumnElement[Any]:
    """Return a row's creation time in the database's type: converted to Python's, SQLite's would be rounded."""
    return type_coerce(row.created_at, NullType())


def _first(query: Select[Any], row: Any) -> Select[Any]:
    return query.add_columns(_place(row).label("place")).order_by(row.created_at, row.id).limit(_NUMBER)


def _next(query: Select[Any], row: Any, id_type: TypeEngine[Any]) -> Select[Any]:
    last = tuple_(bindparam("place", type_=NullType()), bindparam("last", type_=id_type))
    return query.where(tuple_(_place(row), row.id) > last)


# Built once: SQLAlchemy neither hashes nor adapts the same statement object again.
_MODELS = _first(select(*model_service.COLUMNS), ModelRow)
_MORE_MODELS = _next(_MODELS, ModelRow, Uuid())
_DEPLOYMENTS = _first(deployment_service.select_deployments(), DeploymentRow)
_MORE_DEPLOYMENTS = _next(_DEPLOYMENTS, DeploymentRow, Uuid())
_KEYS = _first(select(*key_service.COLUMNS).where(KeyRow.revoked_at.is_(None)), KeyRow)
_MORE_KEYS = _next(_KEYS, KeyRow, KeyRow.id.type)
_FILE: tuple[Any, ...] = (FileRow.path, FileRow.size, FileRow.sha256)
_FILES = select(*_FILE).where(FileRow.model_id == bindparam("model_id")).order_by(FileRow.path).limit(_NUMBER)
_MORE_FILES = _FILES.where(FileRow.path > bindparam("last"))


async def models(
    connection: Reader,
    after: Placed | None,
    number: int,
    *,
    name: str | None = None,
    status: ModelStatus | None = None,
    limit: NameLimit = UNLIMITED,
) -> Sequence[Placed]:
    """Return at most `number` models within the limit, only of exactly that name and in that status, if given."""
    query = _MODELS if after is None else _MORE_MODELS
    if limit:
        query = query.where(*within(limit, ModelRow.name))
    if name is not None:
        query = query.where(ModelRow.name == name)
    if status is not None:
        query = query.where(ModelRow.status == status)
    return await _rows(connection, query, after, number)


async def deployments(
    connection: Reader,
    after: Placed | None,
    number: int,
    *,
    name: str | None = None,
    model_id: UUID | None = None,
    limit: NameLimit = UNLIMITED,
) -> Sequence[Placed]:
    """Return at most `number` deployments within the limit, only of exactly that name and of that model, if given."""
    query = _DEPLOYMENTS if after is None else _MORE_DEPLOYMENTS
    if limit:
        query = query.where(*within(limit, ModelRow.name))
    if name is not None:
        query = query.where(DeploymentRow.name == name)
    if model_id is not None:
        query = query.where(DeploymentRow.model_id == model_id)
    return await _rows(connection, query, after, number)


async def keys(connection: Reader, after: Placed | None, number: int) -> Sequence[Placed]:
    """Return at most `number` keys that are not revoked."""
    return await _rows(connection, _KEYS if after is None else _MORE_KEYS, after, number)


async def files(
    connection: Reader, after: FileRecord | None, number: int, *, model: ModelRecord
) -> Sequence[FileRecord]:
    """Return at most `number` files, by path, of a ready model. `model` is its row when the list began.

    Raises `NotFound`, or `Conflict` if it is not ready or has changed since: some files would be missing.
    """
    given = {"model_id": model.id, "number": number} | ({} if after is None else {"last": after.path})
    rows = (await connection.execute(_FILES if after is None else _MORE_FILES, given)).all()
    now = await model_service.get(connection, model.id)
    if now.status != ModelStatus.READY:
        raise Conflict(f"Model {now.id} has the status {now.status}: its files can be listed once it is ready.")
    if now.updated_at != model.updated_at:
        raise Conflict(f"Model {now.id} changed while its files were listed: ask again.")
    return cast("Sequence[FileRecord]", rows)


async def model_place(connection: Reader, model_id: UUID, limit: NameLimit = UNLIMITED) -> Placed:
    """Return the position in the list after which the next page starts. Raises `BadRequest`."""
    columns: tuple[Any, ...] = (ModelRow.id, _place(ModelRow).label("place"))
    query = select(*columns).where(ModelRow.id == model_id, *within(limit, ModelRow.name))
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise BadRequest(f"'after' names no model ({model_id}): it may be deleted. List from the start.", field="after")
    return cast("Placed", row)


async def _rows(connection: Reader, query: Select[Any], after: Placed | None, number: int) -> Sequence[Placed]:
    given = {"number": number} | ({} if after is None else {"place": after.place, "last": after.id})
    return cast("Sequence[Placed]", (await connection.execute(query, given)).all())
