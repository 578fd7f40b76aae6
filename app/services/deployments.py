"""Deployments: a serving system declares that it uses a model, which then can't be deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Select, case, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.db.clock import now
from app.db.inserts import INSERT
from app.db.session import Reader, Writer
from app.db.tables import DeploymentRow, ModelRow
from app.domain.commands import Command
from app.domain.errors import BadRequest, Conflict, NotFound, NotReady
from app.domain.keys import UNLIMITED, NameLimit
from app.domain.states import DeploymentStatus, ModelStatus
from app.services import operations
from app.services.limits import within
from app.services.models import BRANCH, OLDEST_FIRST, SELECTED
from app.services.rows import AcceptedOperation, DeployableModel, DeploymentRecord, ListedDeployment

COLUMNS: tuple[Any, ...] = (
    DeploymentRow.id,
    DeploymentRow.name,
    DeploymentRow.model_id,
    ModelRow.name.label("model_name"),
    DeploymentRow.status,
    DeploymentRow.status.label("state"),
    DeploymentRow.gpu_type,
    DeploymentRow.gpu_count,
    DeploymentRow.replicas,
    DeploymentRow.deployment_url,
    DeploymentRow.inference_engine_version,
    DeploymentRow.inference_engine_parameters,
    DeploymentRow.key_id.label("key"),
    DeploymentRow.last_seen_at,
    DeploymentRow.created_at,
    DeploymentRow.updated_at,
)
"""The columns a caller sees."""
_SORT_COLUMNS: Mapping[str, Any] = {
    "created": DeploymentRow.created_at,
    "name": func.lower(DeploymentRow.name),
    "model": func.lower(ModelRow.name),
}
SORTS = ("-created", "created", "name", "-name", "model", "-model")
"""The sort keys of `find`; with a `-`, in descending order."""
_CHANGED: tuple[Any, ...] = (DeploymentRow.name, DeploymentRow.model_id)


class Kind(StrEnum):
    """Who declared a deployment: somebody, or a pull. The latter expire."""

    DECLARED = "declared"
    BY_PULL = "by-pull"


_KIND = case((DeploymentRow.by_pull, Kind.BY_PULL.value), else_=Kind.DECLARED.value).label("kind")


async def create(
    connection: Writer,
    *,
    model_id: UUID | None,
    model_name: str | None,
    name: str,
    limit: NameLimit = UNLIMITED,
    request_id: str | None = None,
    **values: Any,
) -> AcceptedOperation:
    """Deploy the model with that id, or the only one of that name, within the limit. Return the ended operation.

    Raises `NotFound`, `NotReady`, `Conflict` if the deployment's name is taken, or `BadRequest` if several models have
    the model's name.
    """
    if model_id is None:
        model_id = await _only_model_called(connection, model_name or "", limit)
    # A delete of the model locks the same row first, so one of the two sees the other's change.
    columns: tuple[Any, ...] = (ModelRow.name, ModelRow.status, ModelRow.deleting)
    query = select(*columns).where(ModelRow.id == model_id, *within(limit, ModelRow.name)).with_for_update()
    model = (await connection.execute(query)).one_or_none()
    if model is None:
        message = f"There is no model {model_id} to deploy: the list of models shows those there are."
        raise NotFound(message, field="model")
    if (status := "being deleted" if model.deleting else model.status) != ModelStatus.READY:
        raise NotReady(f"Model {model_id} has the status {status}: only a ready model can be deployed.", field="model")
    deployment_id = uuid4()
    insert = INSERT[connection.dialect.name](DeploymentRow).on_conflict_do_nothing(index_elements=[DeploymentRow.name])
    statement = insert.values(
        id=deployment_id,
        name=name,
        model_id=model_id,
        status=DeploymentStatus.READY,
        created_at=now(),
        updated_at=now(),
        **values,
    )
    if (await connection.execute(statement)).rowcount != 1:
        raise await _taken(connection, name, limit)
    return await _record(connection, Command.CREATE_DEPLOYMENT, deployment_id, name, model_id, request_id)


async def change(
    connection: Writer,
    deployment_id: UUID,
    command: Command,
    *,
    limit: NameLimit = UNLIMITED,
    request_id: str | None = None,
    **values: Any,
) -> AcceptedOperation:
    """Set `values` of a deployment. Return the ended operation. Raises `NotFound`, or `Conflict` for a taken name.

    The conflict tells the id of the deployment with that name only if it is within the limit.
    """
    statement = update(DeploymentRow).where(DeploymentRow.id == deployment_id).values(updated_at=now(), **values)
    try:
        async with connection.begin_nested():
            row = (await connection.execute(statement.returning(*_CHANGED))).one_or_none()
    except IntegrityError:
        raise await _taken(connection, values["name"], limit) from None
    if row is None:
        raise unknown(deployment_id)
    return await _record(connection, command, deployment_id, row.name, row.model_id, request_id)


async def newest(
    connection: Reader,
    *,
    limit: int,
    model_id: UUID | None = None,
    reach: NameLimit = UNLIMITED,
) -> Sequence[DeploymentRecord]:
    """Return at most `limit` deployments (of one model, if given) in reach, newest first."""
    query = (
        select_deployments()
        .where(*within(reach, ModelRow.name))
        .order_by(DeploymentRow.created_at.desc(), DeploymentRow.id.desc())
        .limit(limit)
    )
    if model_id is not None:
        query = query.where(DeploymentRow.model_id == model_id)
    return cast("Sequence[DeploymentRecord]", (await connection.execute(query)).all())


@dataclass(frozen=True, slots=True)
class Search:
    """Which deployments to find, in reach: of a model; `text` is a part of their name or their model's. Empty: any."""

    text: str = ""
    kind: Kind | None = None
    reach: NameLimit = UNLIMITED
    model_id: UUID | None = None


async def find(connection: Reader, search: Search, *, sort: str, limit: int, offset: int) -> Sequence[ListedDeployment]:
    """Return at most `limit` deployments that match `search`, without the first `offset`, sorted."""
    column = _SORT_COLUMNS[sort.removeprefix("-")]
    order = [column.desc(), DeploymentRow.id.desc()] if sort.startswith("-") else [column, DeploymentRow.id]
    query = select_deployments().add_columns(_KIND).where(*_matching(search)).order_by(*order)
    if search.kind is not None:
        query = query.where(DeploymentRow.by_pull.is_(search.kind is Kind.BY_PULL))
    return cast("Sequence[ListedDeployment]", (await connection.execute(query.limit(limit).offset(offset))).all())


async def counts(connection: Reader, search: Search) -> Mapping[Kind, int]:
    """Return the number of deployments of each kind that match the rest of `search`."""
    query = select(DeploymentRow.by_pull, func.count()).group_by(DeploymentRow.by_pull)
    if search.text or search.reach or search.model_id:
        query = query.join(ModelRow, ModelRow.id == DeploymentRow.model_id).where(*_matching(search))
    found = {row[0]: row[1] for row in (await connection.execute(query)).all()}
    return {kind: found.get(kind is Kind.BY_PULL, 0) for kind in Kind}


async def get_many(
    connection: Reader, deployment_ids: Sequence[UUID], *, reach: NameLimit = UNLIMITED
) -> Sequence[DeploymentRecord]:
    """Return the existing deployments of `deployment_ids` in reach."""
    query = select_deployments().where(DeploymentRow.id.in_(deployment_ids), *within(reach, ModelRow.name))
    return cast("Sequence[DeploymentRecord]", (await connection.execute(query)).all())


async def held(connection: Reader, model_ids: Sequence[UUID]) -> set[UUID]:
    """Return the subset of `model_ids` that deployments use."""
    query = select(DeploymentRow.model_id).where(DeploymentRow.model_id.in_(model_ids)).distinct()
    return set((await connection.execute(query)).scalars())


async def deployable(
    connection: Reader, *, limit: int, model_id: UUID | None = None, reach: NameLimit = UNLIMITED
) -> Sequence[DeployableModel]:
    """Return the models in reach that can be deployed, by name; if given, only the one with that id."""
    columns = (ModelRow.id, ModelRow.name, BRANCH.label("branch"), ModelRow.commit, ModelRow.include, ModelRow.exclude)
    query = select(*columns).where(ModelRow.status == ModelStatus.READY, ~ModelRow.deleting)
    query = query.where(*within(reach, ModelRow.name))
    if model_id is not None:
        query = query.where(ModelRow.id == model_id)
    ordered = query.order_by(ModelRow.name, ModelRow.id).limit(limit)
    return cast("Sequence[DeployableModel]", (await connection.execute(ordered)).all())


async def get(connection: Reader, deployment_id: UUID) -> DeploymentRecord:
    """Return one deployment. Raises `NotFound`."""
    query = select_deployments().where(DeploymentRow.id == deployment_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise unknown(deployment_id)
    return cast("DeploymentRecord", row)


async def remove(connection: Writer, deployment_id: UUID, *, request_id: str | None = None) -> AcceptedOperation:
    """Delete a deployment. Return the ended operation. Raises `NotFound`."""
    statement = delete(DeploymentRow).where(DeploymentRow.id == deployment_id).returning(*_CHANGED)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise unknown(deployment_id)
    return await _record(connection, Command.DELETE_DEPLOYMENT, deployment_id, row.name, row.model_id, request_id)


async def ready_model(
    connection: Reader, *, model_id: UUID | None, model_name: str | None, limit: NameLimit = UNLIMITED
) -> UUID | None:
    """Return the id of the model to deploy, or `None` if it is not ready or beyond the limit.

    Raises as `create` does for `model_name`.
    """
    if model_id is None:
        model_id = await _only_model_called(connection, model_name or "", limit)
    query = select(ModelRow.id).where(ModelRow.id == model_id, ModelRow.status == ModelStatus.READY, ~ModelRow.deleting)
    return (await connection.execute(query.where(*within(limit, ModelRow.name)))).scalar_one_or_none()


def _matching(search: Search) -> list[ColumnElement[bool]]:
    conditions = within(search.reach, ModelRow.name)
    if search.model_id:
        conditions.append(DeploymentRow.model_id == search.model_id)
    if search.text:
        names = (DeploymentRow.name, ModelRow.name)
        conditions.append(or_(*(name.icontains(search.text, autoescape=True) for name in names)))
    return conditions


async def _only_model_called(connection: Reader, name: str, limit: NameLimit) -> UUID:
    query = select(*SELECTED, BRANCH.label("branch")).where(ModelRow.name == name, *within(limit, ModelRow.name))
    models = (await connection.execute(query.order_by(*OLDEST_FIRST))).all()
    if not models:
        raise NotFound(
            f"There is no model called {name!r} to deploy: the list of models shows those there are.", field="model"
        )
    candidates = [model for model in models if model.status == ModelStatus.READY] or models
    # What was updated may be there still: the update answers for the name.
    newest = {(model.branch, frozenset(model.include), frozenset(model.exclude)): model.id for model in candidates}
    if len(newest) > 1:
        raise BadRequest(
            f"{len(newest)} models are called {name!r}: name the one you mean by its id, as "
            f'"model": {{"id": "{next(iter(newest.values()))}"}}.',
            field="model",
        )
    model_id: UUID = next(iter(newest.values()))
    return model_id


def select_deployments() -> Select[Any]:
    """Return a SELECT of what a caller sees of all deployments."""
    return select(*COLUMNS).join(ModelRow, ModelRow.id == DeploymentRow.model_id)


def unknown(deployment_id: UUID) -> NotFound:
    return NotFound(f"There is no deployment {deployment_id}: the list of deployments shows those there are.")


async def _record(
    connection: Writer,
    command: Command,
    deployment_id: UUID,
    name: str,
    model_id: UUID,
    request_id: str | None,
) -> AcceptedOperation:
    model_name = (await connection.execute(select(ModelRow.name).where(ModelRow.id == model_id))).scalar_one()
    return await operations.record(
        connection, command, deployment_id, name, model_name=model_name, request_id=request_id
    )


async def _taken(connection: Reader, name: str, limit: NameLimit) -> Conflict:
    query = select_deployments().where(DeploymentRow.name == name, *within(limit, ModelRow.name))
    existing = (await connection.execute(query)).scalar_one_or_none()
    which = f"Deployment {existing}" if existing else "Another deployment"
    return Conflict(
        f"{which} has the name {name!r} already: choose another name, or delete that one first.", field="name"
    )
