"""What a key that is limited to some models reaches: to it, other models do not exist."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, or_, select

from app.db.session import Reader
from app.db.tables import DeploymentRow, ModelRow, OperationRow
from app.domain.commands import ON_MODELS
from app.domain.keys import NameLimit

_ESCAPE = "\\"
_LIKE = str.maketrans({"*": "%", "?": "_", "%": r"\%", "_": r"\_", _ESCAPE: r"\\"})
OPERATIONS_MODEL: ColumnElement[str | None] = case(
    (OperationRow.command.in_(ON_MODELS), func.coalesce(OperationRow.resource_name, ModelRow.name)),
    else_=OperationRow.model_name.expression,
)
"""The name of the model that an operation is about, if any. The query joins the operation's resource as a model."""


def within(limit: NameLimit, name: Any) -> list[ColumnElement[bool]]:
    """Return the conditions that a column with models' names meets; none without a limit."""
    if not limit:
        return []
    return [or_(*(name.ilike(pattern.translate(_LIKE), escape=_ESCAPE) for pattern in limit.patterns))]


async def models(connection: Reader, limit: NameLimit, model_ids: Collection[UUID]) -> set[UUID]:
    """Return the subset of `model_ids` that exists within the limit."""
    query = select(ModelRow.id).where(ModelRow.id.in_(model_ids), *within(limit, ModelRow.name))
    return set((await connection.execute(query)).scalars())


async def has_model(connection: Reader, limit: NameLimit, model_id: UUID) -> bool:
    return bool(await models(connection, limit, [model_id]))


async def has_deployment(connection: Reader, limit: NameLimit, deployment_id: UUID) -> bool:
    query = select(DeploymentRow.id).join(ModelRow, ModelRow.id == DeploymentRow.model_id)
    query = query.where(DeploymentRow.id == deployment_id, *within(limit, ModelRow.name))
    return (await connection.execute(query)).one_or_none() is not None


async def has_operation(connection: Reader, limit: NameLimit, operation_id: UUID) -> bool:
    query = select(OperationRow.id).outerjoin(ModelRow, ModelRow.id == OperationRow.resource_id)
    query = query.where(OperationRow.id == operation_id, *within(limit, OPERATIONS_MODEL))
    return (await connection.execute(query)).one_or_none() is not None
