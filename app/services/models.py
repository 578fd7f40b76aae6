"""Models: read, delete."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import and_, bindparam, case, delete, exists, func, select

from app.db.clock import moment
from app.db.deletes import delete_some
from app.db.ids import among
from app.db.session import Reader, Writer
from app.db.tables import DeploymentRow, ModelRow, OperationRow
from app.db.transitions import cancel_operation, mark_deleting
from app.domain.commands import Command
from app.domain.errors import ModelInUse, NotFound, Reason
from app.domain.repositories import Selection
from app.domain.states import ModelStatus, OperationState
from app.services import operations, webhooks
from app.services.rows import AcceptedOperation, ModelRecord, RenamedModel, SelectedModel, StandingModel
from app.services.webhooks import Event

COLUMNS: tuple[Any, ...] = (
    ModelRow.id,
    ModelRow.name,
    ModelRow.status,
    ModelRow.status.label("state"),
    func.coalesce(ModelRow.model_size, ModelRow.total).label("model_size"),
    ModelRow.created_at,
    ModelRow.updated_at,
    ModelRow.deleting,
    ModelRow.revision,
    ModelRow.include,
    ModelRow.exclude,
    ModelRow.commit,
    ModelRow.downloaded,
    ModelRow.total,
    ModelRow.files,
    ModelRow.files_verified,
    ModelRow.rate,
    # Null unless ready and not being deleted: nobody may begin to load files that are going or partly gone.
    case((and_(ModelRow.status == ModelStatus.READY, ~ModelRow.deleting), ModelRow.path)).label("path"),
    ModelRow.reason,
    ModelRow.message,
    ModelRow.pulls,
    ModelRow.bytes_sent,
    ModelRow.last_pulled_at,
    ModelRow.last_pulled_by,
    ModelRow.last_pulled_with,
    ModelRow.priority,
    ModelRow.paused,
    ModelRow.follows,
    ModelRow.latest,
)
"""The columns a caller sees."""
SELECTED: tuple[Any, ...] = (
    ModelRow.id,
    ModelRow.status,
    ModelRow.name,
    ModelRow.revision,
    ModelRow.include,
    ModelRow.exclude,
    ModelRow.fingerprint,
    ModelRow.commit,
    ModelRow.follows,
)
"""The columns of a `SelectedModel`."""
STANDING: tuple[Any, ...] = (ModelRow.id, ModelRow.status, ModelRow.deleting, ModelRow.commit)
"""The columns of a `StandingModel`."""
BRANCH = func.coalesce(ModelRow.follows, ModelRow.revision)
"""The branch, tag or commit that a model was asked for by: an update is of a commit, and was asked for by a branch."""
OLDEST_FIRST = (ModelRow.follows.is_not(None), ModelRow.created_at, ModelRow.id)
"""The order of the models of a branch, of which the last one answers for it: updates have newer commits, also where one was
fetched for itself before."""
# Built once: SQLAlchemy neither hashes nor adapts the same statement object again.
_LIST = select(*COLUMNS).order_by(ModelRow.created_at, ModelRow.id)
_GET = select(*COLUMNS).where(ModelRow.id == bindparam("model_id"))
_SOME = select(*COLUMNS).where(among(ModelRow.id, "model_ids"))


async def list_all(connection: Reader) -> Sequence[ModelRecord]:
    """Return every model, oldest first."""
    return cast("Sequence[ModelRecord]", (await connection.execute(_LIST)).all())


async def get(connection: Reader, model_id: UUID) -> ModelRecord:
    """Return one model. Raises `NotFound`."""
    row = (await connection.execute(_GET, {"model_id": model_id})).one_or_none()
    if row is None:
        raise unknown(model_id)
    return cast("ModelRecord", row)


async def get_many(connection: Reader, model_ids: Sequence[UUID]) -> dict[UUID, ModelRecord]:
    """Return the existing models of `model_ids`, by id."""
    rows = (await connection.execute(_SOME, {"model_ids": model_ids})).all()
    return {row.id: cast("ModelRecord", row) for row in rows}


async def request_delete(
    connection: Writer, model_id: UUID, *, deadline: float, request_id: str | None = None
) -> AcceptedOperation:
    """Begin to delete a model and return the operation, or the one under way. A pending fetch is cancelled.

    A model that no worker has claimed yet is deleted at once, and the returned operation has ended.

    Raises `NotFound`, or `ModelInUse` while deployments use it.
    """
    # A create of a deployment locks the same row first, so one of the two sees the other's change.
    columns = (ModelRow.name, ModelRow.deleting, ModelRow.downloaded)
    lock = select(*columns).where(ModelRow.id == model_id).with_for_update()
    model = (await connection.execute(lock)).one_or_none()
    if model is None:
        raise unknown(model_id)
    if model.deleting and (under_way := await operations.pending(connection, model_id)):
        return under_way
    uses = select(DeploymentRow.id).where(DeploymentRow.model_id == model_id)
    uses = uses.order_by(DeploymentRow.created_at, DeploymentRow.id)
    if deployments := (await connection.execute(uses)).scalars().all():
        raise ModelInUse(deployments)
    fetching = OperationRow.resource_id == model_id
    if model.downloaded is None:
        message = "The model was deleted before a worker began to fetch it."
        untouched = and_(fetching, OperationRow.fence == 0)
        if await cancel_operation(connection, untouched, OperationState.FAILURE, Reason.INTERRUPTED, message):
            await forget(connection, model_id)
            return await operations.record(
                connection, Command.DELETE_MODEL, model_id, model.name, request_id=request_id
            )
    await mark_deleting(connection, model_id, deleting=True)
    message = "The model was deleted while it was being fetched."
    await cancel_operation(connection, fetching, OperationState.FAILURE, Reason.INTERRUPTED, message)
    return await operations.begin(
        connection, Command.DELETE_MODEL, model_id, model.name, deadline=deadline, request_id=request_id
    )


def branch_of(model: SelectedModel | ModelRecord) -> str:
    """Return the `BRANCH` of a model."""
    return model.follows or model.revision


async def selection(connection: Reader, model_id: UUID) -> SelectedModel:
    """Return a model's selection, status and resolved commit. Raises `NotFound`."""
    row = (await connection.execute(select(*SELECTED).where(ModelRow.id == model_id))).one_or_none()
    if row is None:
        raise unknown(model_id)
    return cast("SelectedModel", row)


async def of_selection(connection: Reader, fingerprint: str) -> StandingModel | None:
    """Return the model with this selection, if there is one."""
    query = select(*STANDING)
    found = (await connection.execute(query.where(ModelRow.fingerprint == fingerprint))).one_or_none()
    return cast("StandingModel | None", found)


async def of_commit(connection: Reader, commit: str, selection: Selection) -> Sequence[RenamedModel]:
    """Return the models with the same files at that commit under other names of the repository."""
    columns = (*STANDING, ModelRow.name, ModelRow.include, ModelRow.exclude)
    query = select(*columns).where(ModelRow.commit == commit, ModelRow.name != selection.name, ~ModelRow.deleting)
    rows = (await connection.execute(query.order_by(ModelRow.created_at, ModelRow.id))).all()
    wanted = selection.include, selection.exclude
    return [cast("RenamedModel", row) for row in rows if (tuple(row.include), tuple(row.exclude)) == wanted]


async def forget(connection: Writer, model_id: UUID) -> None:
    """Delete the row of a model whose files are gone: the same model may then be created again."""
    await webhooks.record(connection, Event.DELETED, model_id)
    await connection.execute(delete(ModelRow).where(ModelRow.id == model_id))


async def is_ready(connection: Reader, model_id: UUID) -> bool:
    query = select(ModelRow.id).where(ModelRow.id == model_id, ModelRow.status == ModelStatus.READY)
    return (await connection.execute(query)).one_or_none() is not None


def unknown(model_id: UUID) -> NotFound:
    return NotFound(f"There is no model {model_id}: the list of models shows those there are.")


async def dismiss(connection: Writer, *, retention: float, limit: int) -> int:
    """Delete at most `limit` models that failed over `retention` seconds ago without a byte. Return their number.

    Mostly these are misspelt names, which nobody deletes.
    """
    pending = exists().where(OperationRow.resource_id == ModelRow.id, OperationRow.state == OperationState.PENDING)
    empty = func.coalesce(ModelRow.downloaded, 0) == 0
    failed = and_(ModelRow.status == ModelStatus.ERROR, ModelRow.updated_at < moment(-retention), empty)
    used = exists().where(DeploymentRow.model_id == ModelRow.id)
    return (await connection.execute(delete_some(ModelRow, failed, ~pending, ~used, limit=limit))).rowcount
