"""Updates: whether the branch or tag of a model has moved on the Hub, and which model holds what it is at now.

A model of a commit that nobody asked for by a branch never moves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import aliased

from app.db.clock import moment, now
from app.db.session import Reader, Writer
from app.db.tables import ModelRow
from app.domain.repositories import Selection
from app.domain.states import ModelStatus
from app.services import webhooks
from app.services.models import BRANCH, OLDEST_FIRST, SELECTED, STANDING, branch_of
from app.services.rows import ModelRecord, SelectedModel, StandingModel
from app.services.webhooks import Event

_READY: tuple[ColumnElement[bool], ...] = (
    ModelRow.status.expression == ModelStatus.READY,
    ~ModelRow.deleting.expression,
    # It was not asked for by its commit.
    ModelRow.commit.expression != BRANCH,
)
_LOOKED_AT = func.coalesce(ModelRow.looked_at, ModelRow.updated_at)
"""The download of a model looks, too: it asks the Hub which commit the revision is at."""


class Branch(NamedTuple):
    """A branch or tag of a repository."""

    name: str
    revision: str


async def claim(connection: Writer, *, every: float) -> Branch | None:
    """Return the branch that was looked up longest ago, over `every` seconds, which nobody else gets for that long.

    Return None if none is due, or if somebody else has just claimed it.
    """
    due = _LOOKED_AT.expression < moment(-every)
    longest = select(ModelRow.name, BRANCH).where(*_READY, due).order_by(_LOOKED_AT).limit(1)
    row = (await connection.execute(longest)).one_or_none()
    if row is None:
        return None
    branch = Branch(*row)
    mine = update(ModelRow).where(ModelRow.id.in_(_locked(branch, due))).values(looked_at=now())
    claimed = (await connection.execute(mine.returning(ModelRow.id))).all()
    return branch if claimed else None


async def found(connection: Writer, branch: Branch, commit: str) -> None:
    """Write what a branch is at on the Hub. Once for each commit, tell of the models that have an update by that."""
    other = or_(ModelRow.latest.is_(None), ModelRow.latest != commit)
    written = update(ModelRow).where(ModelRow.id.in_(_locked(branch, other))).values(latest=commit, looked_at=now())
    rows = (await connection.execute(written.returning(ModelRow.id, ModelRow.commit))).all()
    for model_id, has in rows:
        if has != commit and await heir(connection, model_id) is None:
            await webhooks.record(connection, Event.UPDATE_AVAILABLE, model_id)


def is_available(model: ModelRecord) -> bool:
    """Return whether the branch or tag of a ready model was elsewhere when it was last looked up."""
    return model.status == ModelStatus.READY and model.latest not in {None, model.commit}


async def heir(connection: Reader, model_id: UUID) -> StandingModel | None:
    """Return the model that holds, or fetches, what another one's branch or tag is at, of the same files."""
    return (await heirs(connection, [model_id])).get(model_id)


async def heirs(connection: Reader, model_ids: Sequence[UUID]) -> dict[UUID, StandingModel]:
    """Return such a model for each of `model_ids` that has one."""
    old = aliased(ModelRow)
    at_latest = or_(ModelRow.commit == old.latest, ModelRow.revision == old.latest)
    patterns: tuple[Any, ...] = (ModelRow.include, ModelRow.exclude, old.include, old.exclude)
    query = select(*STANDING, old.id.label("old_id"), *patterns).join(old, (old.name == ModelRow.name) & at_latest)
    query = query.where(old.id.in_(model_ids), old.id != ModelRow.id, ~ModelRow.deleting)
    rows = (await connection.execute(query.order_by(ModelRow.created_at, ModelRow.id))).all()
    # PostgreSQL does not compare JSON.
    return {row.old_id: cast("StandingModel", row) for row in rows if row[-4:-2] == row[-2:]}


async def following(connection: Reader, selection: Selection) -> SelectedModel | None:
    """Return the newest update that follows the branch of a selection, of the same files, if there is one."""
    found = await _of_files(connection, selection, ModelRow.follows == selection.revision, ~ModelRow.deleting)
    return found[-1] if found else None


async def successor(connection: Reader, model: SelectedModel) -> SelectedModel | None:
    """Return the ready update that stands for the branch of a model once that is gone; None if there are others of it."""
    older, newer = await relatives(connection, model)
    others = [*older, *newer]
    ready = [other for other in others if other.status == ModelStatus.READY]
    return ready[-1] if ready and all(other.follows for other in others) else None


async def relatives(
    connection: Reader, model: ModelRecord | SelectedModel
) -> tuple[Sequence[SelectedModel], Sequence[SelectedModel]]:
    """Return the other models of a model's branch and files: (older ones, newer ones), each the newest last."""
    there = or_(~ModelRow.deleting, ModelRow.id == model.id)
    alike = await _of_files(connection, model, branch_of(model) == BRANCH, there)
    place = next((place for place, row in enumerate(alike) if row.id == model.id), len(alike))
    return alike[:place], alike[place + 1 :]


async def _of_files(
    connection: Reader, like: Selection | ModelRecord | SelectedModel, *conditions: Any
) -> Sequence[SelectedModel]:
    """Return the models of the same repository and patterns that fulfil the conditions, updates last."""
    query = select(*SELECTED).where(ModelRow.name == like.name, *conditions)
    rows = (await connection.execute(query.order_by(*OLDEST_FIRST))).all()
    patterns = [*like.include], [*like.exclude]
    # PostgreSQL does not compare JSON.
    return [cast("SelectedModel", row) for row in rows if (row.include, row.exclude) == patterns]


async def follow(connection: Writer, selection: Selection) -> StandingModel | None:
    """Have the model with this selection, if there is one, follow the selection's branch. Return it."""
    mine = update(ModelRow).where(ModelRow.fingerprint == selection.fingerprint).values(follows=selection.follows)
    row = (await connection.execute(mine.returning(*STANDING))).one_or_none()
    return cast("StandingModel | None", row)


def _locked(branch: Branch, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return a query that locks the ready models of a branch, in one order: two workers never wait for each other."""
    mine = (ModelRow.name == branch.name, BRANCH.expression == branch.revision)
    return select(ModelRow.id).where(*mine, *_READY, *conditions).order_by(ModelRow.id).with_for_update()
