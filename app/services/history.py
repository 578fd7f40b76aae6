"""The history of operations with the names of their resources, newest first, for people to read."""

from collections.abc import Sequence
from itertools import product
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_, union_all

from app.db.clock import moment
from app.db.session import Reader
from app.db.tables import DeploymentRow, ModelRow, OperationRow
from app.db.transitions import is_later
from app.domain.commands import Command
from app.domain.keys import UNLIMITED, NameLimit
from app.domain.states import OperationState
from app.services.limits import OPERATIONS_MODEL, within
from app.services.operations import COLUMNS
from app.services.rows import HistoryRecord

_SHOWN: tuple[Any, ...] = (
    *COLUMNS,
    OperationRow.created_at,
    OperationRow.ended_at,
    OperationRow.due_at,
    OperationRow.attempts,
    OperationRow.request_id,
    OperationRow.lease_owner,
    OperationRow.leased_at,
    moment().label("now"),
    is_later(OperationRow).label("later"),
    OperationRow.paused,
    func.coalesce(OperationRow.resource_name, ModelRow.name, DeploymentRow.name).label("subject"),
    ModelRow.id.label("model_id"),
)
"""`subject` is the resource's name, `model_id` its id if it is a model that still exists.

With a `lease_owner`, `later` tells whether the lease is still held; without one, whether the operation waits.
"""


async def of(connection: Reader, resource_id: UUID, *, limit: int) -> Sequence[HistoryRecord]:
    """Return the newest operations on one model or deployment."""
    query = _shown().where(OperationRow.resource_id == resource_id).order_by(OperationRow.created_at.desc())
    return cast("Sequence[HistoryRecord]", (await connection.execute(query.limit(limit))).all())


async def page(
    connection: Reader,
    *,
    limit: int,
    state: OperationState | None = None,
    command: Command | None = None,
    before: UUID | None = None,
    reach: NameLimit = UNLIMITED,
) -> Sequence[HistoryRecord]:
    """Return at most `limit` operations in reach, in that state and of that command, newest first, after `before`.

    The cost does not depend on their number: an index gives the newest of each pair of a state and a command, and the
    newest of all these are returned.
    """
    pairs = product([state] if state else OperationState, [command] if command else Command)
    each = [_newest(*pair, before, limit, reach).subquery() for pair in pairs]
    found = union_all(*(select(one.c.id, one.c.created_at) for one in each)).subquery()
    ids = select(found.c.id).order_by(found.c.created_at.desc(), found.c.id.desc()).limit(limit)
    query = _shown().where(OperationRow.id.in_(ids))
    order = OperationRow.created_at.desc(), OperationRow.id.desc()
    return cast("Sequence[HistoryRecord]", (await connection.execute(query.order_by(*order))).all())


def _newest(state: OperationState, command: Command, before: UUID | None, limit: int, reach: NameLimit) -> Select[Any]:
    columns: tuple[Any, ...] = (OperationRow.id, OperationRow.created_at)
    query = select(*columns).where(OperationRow.state == state, OperationRow.command == command)
    if reach:
        query = query.outerjoin(ModelRow, ModelRow.id == OperationRow.resource_id)
        query = query.where(*within(reach, OPERATIONS_MODEL))
    place = tuple_(OperationRow.created_at, OperationRow.id)
    if before is not None:
        then = select(OperationRow.created_at).where(OperationRow.id == before).scalar_subquery()
        query = query.where(place < tuple_(then, before))
    return query.order_by(OperationRow.created_at.desc(), OperationRow.id.desc()).limit(limit)


def _shown() -> Select[Any]:
    model = ModelRow.id == OperationRow.resource_id
    deployment = DeploymentRow.id == OperationRow.resource_id
    joined = select(*_SHOWN).select_from(OperationRow).outerjoin(ModelRow, model)
    return joined.outerjoin(DeploymentRow, deployment)
