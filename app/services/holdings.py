"""The storage compared with the rows: orphaned folders, models without a folder, folders to adopt."""

from collections.abc import Collection, Mapping, Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, exists, select, update

from app.db.clock import moment, now
from app.db.ids import among
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import ModelRow, OperationRow
from app.db.transitions import move_model
from app.domain.commands import Command
from app.domain.errors import NotFound, Reason
from app.domain.repositories import Selection
from app.domain.states import ModelStatus, OperationState
from app.services import files as recorded
from app.services import models, webhooks
from app.services.rows import ResolvedModel, StoredFile
from app.services.webhooks import Event

_AT_ONCE = 1000
"""Ids in one statement."""
_SETTLED = 600.0
"""Seconds after a ready model's last change until every machine must see its folder."""
_GONE = (
    "Its folder is gone from the storage. Retry to fetch it again, or delete the model. If the folder was "
    "moved away by hand, move it back first: what is there is not fetched."
)


async def missing(connection: Reader, model_ids: Sequence[UUID]) -> tuple[set[UUID], set[UUID]]:
    """Return (ids without a model row, the subset of them that a recorded delete operation removed).

    A missing row alone proves nothing: a restore may have failed half-way.
    """
    there: set[UUID] = set()
    deleted: set[UUID] = set()
    by_delete = (
        OperationRow.command == Command.DELETE_MODEL,
        OperationRow.state == OperationState.SUCCESS,
        among(OperationRow.resource_id, "model_ids"),
    )
    for start in range(0, len(model_ids), _AT_ONCE):
        some = {"model_ids": model_ids[start : start + _AT_ONCE]}
        there |= set(
            (await connection.execute(select(ModelRow.id).where(among(ModelRow.id, "model_ids")), some)).scalars()
        )
        deleted |= set((await connection.execute(select(OperationRow.resource_id).where(*by_delete), some)).scalars())
    missing = set(model_ids) - there
    return missing, missing & deleted


async def is_empty(connection: Reader) -> bool:
    """Return whether there is no model at all."""
    return (await connection.execute(select(ModelRow.id).limit(1))).one_or_none() is None


async def ready(connection: Reader, *, after: UUID | None = None, limit: int, settled: bool) -> Sequence[UUID]:
    """Return the ids of at most `limit` ready models that are not being deleted, by id, starting after `after`.

    If `settled`, only of those whose folder every machine must see by now.
    """
    which = [*_lasting(), *([ModelRow.updated_at < moment(-_SETTLED)] if settled else [])]
    query = select(ModelRow.id).where(*which).order_by(ModelRow.id).limit(limit)
    return (await connection.execute(query.where(ModelRow.id > after) if after else query)).scalars().all()


async def at_rest(connection: Reader, model_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the models that are ready and that no pending operation is about."""
    query = select(ModelRow.id).where(*_lasting(), ~_is_busy(), among(ModelRow.id, "model_ids"))
    return set((await connection.execute(query, {"model_ids": list(model_ids)})).scalars())


async def lose(connection: Writer, model_id: UUID) -> bool:
    """Move a ready model to `error`, since its folder is gone. Return False if it is not ready, or busy."""
    lost = await move_model(
        connection, model_id, ModelStatus.ERROR, *_lasting(), ~_is_busy(), reason=Reason.FAULT, message=_GONE
    )
    if lost:
        await webhooks.record(connection, Event.ERROR, model_id)
    return lost


async def move(connection: Writer, paths: Mapping[UUID, str]) -> None:
    """Write where models are that are ready: the storage was replaced by a copy of it."""
    statement = update(ModelRow).where(ModelRow.id == bindparam("model_id"), ModelRow.status == ModelStatus.READY)
    if paths:
        rows = [{"model_id": model_id, "place": path} for model_id, path in paths.items()]
        await connection.execute(statement.values(path=bindparam("place"), updated_at=now()), rows)


async def described(connection: Reader, model_id: UUID) -> tuple[ResolvedModel, Sequence[StoredFile]] | None:
    """Return a ready model's row and its files, by path, or `None` if it is no longer ready."""
    try:
        model = await models.selection(connection, model_id)
    except NotFound:
        return None
    if model.status != ModelStatus.READY or model.commit is None:
        return None
    return cast("ResolvedModel", model), await recorded.of(connection, model_id)


async def adopt(
    connection: Writer,
    model_id: UUID,
    selection: Selection,
    commit: str,
    path: str,
    files: Sequence[recorded.Recorded],
) -> UUID | None:
    """Insert a row, ready at once, for an existing folder that is complete and verified. Return `None`.

    If a model has this selection already, insert nothing and return that model's id.
    """
    size = sum(file[1] for file in files)
    values = {
        "id": model_id,
        "name": selection.name,
        "revision": selection.revision,
        "include": list(selection.include),
        "exclude": list(selection.exclude),
        "fingerprint": selection.fingerprint,
        "follows": selection.follows,
        "status": ModelStatus.READY,
        "deleting": False,
        "commit": commit,
        "model_size": size,
        "downloaded": size,
        "total": size,
        "files": len(files),
        "files_verified": len(files),
        "path": path,
        "created_at": now(),
        "updated_at": now(),
    }
    statement = INSERT[connection.dialect.name](ModelRow).values(**values).on_conflict_do_nothing()
    if (await connection.execute(statement)).rowcount != 1:
        query = select(ModelRow.id).where(ModelRow.fingerprint == selection.fingerprint)
        return (await connection.execute(query)).scalar_one_or_none() or model_id
    await recorded.record(connection, model_id, files)
    return None


def _is_busy() -> ColumnElement[bool]:
    return exists().where(OperationRow.resource_id == ModelRow.id, OperationRow.state == OperationState.PENDING)


def _lasting() -> tuple[ColumnElement[bool], ...]:
    return ModelRow.status == ModelStatus.READY, ~ModelRow.deleting
