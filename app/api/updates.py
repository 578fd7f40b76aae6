"""Asks the Hub whether a model's branch has moved, and fetches what it is at now."""

from dataclasses import dataclass
from uuid import UUID

from app.api.changes import check_hub_token
from app.api.dependencies import Depot
from app.domain.commands import Command
from app.domain.errors import Conflict
from app.domain.repositories import Selection, select
from app.domain.states import ModelStatus
from app.services import audit, models, operations, updates
from app.services.audit import Act
from app.services.rows import AcceptedOperation, SelectedModel


@dataclass(frozen=True, slots=True)
class Look:
    """A model, its branch or tag (or the commit that was asked for), and the commit that this is at on the Hub now."""

    model: SelectedModel
    branch: str
    latest: str

    @property
    def moved(self) -> bool:
        return self.latest != self.model.commit


async def look(depot: Depot, model_id: UUID, token: str | None = None) -> Look:
    """Have a worker ask the Hub. Raises `NotFound`, `Conflict` if nobody can tell, or `NoAnswer`."""
    async with depot.database.read() as connection:
        model = await models.selection(connection, model_id)
    if model.commit is None:
        raise Conflict(f"Nobody knows yet which commit of {model.name!r} this is: ask again once it is downloading.")
    branch = models.branch_of(model)
    # A commit never moves.
    latest = model.commit if branch == model.commit else await depot.lookups.latest(model_id, token)
    return Look(model, branch, latest)


async def refresh(depot: Depot, act: Act, model_id: UUID, token: str | None) -> AcceptedOperation:
    """Fetch the newest commit of a model's branch, as a model of its own that follows it. Return the operation.

    Raises as `look` does, and `Conflict` if the model is not ready, if its branch has not moved, or if that commit is
    being fetched or deleted.
    """
    await check_hub_token(depot, token)
    found = await look(depot, model_id, token)
    model = found.model
    act.resource_name = model.name
    if model.status != ModelStatus.READY:
        raise Conflict(f"Model {model_id} has the status {model.status}: update it once it is ready.")
    if found.branch == model.commit:
        raise Conflict(
            f"Model {model_id} was fetched at a commit, which never moves: fetch {model.name!r} by a branch."
        )
    if not found.moved:
        raise Conflict(f"{found.branch!r} of {model.name!r} has not moved: model {model_id} is up to date.")
    update = select(model.name, found.latest, model.include, model.exclude, follows=found.branch)
    return await _adopt(depot, act, update) or await depot.fetching.begin(act, update, token)


async def _adopt(depot: Depot, act: Act, update: Selection) -> AcceptedOperation | None:
    """Have a model that was fetched at this commit follow the branch. Return an ended operation if it is ready."""
    async with depot.database.begin() as connection:
        there = await updates.follow(connection, update)
        if there is None or there.deleting or there.status != ModelStatus.READY:
            return None
        command, request_id = Command.CREATE_MODEL, act.request_id
        row = await operations.record(connection, command, there.id, update.name, request_id=request_id)
        await audit.accept(connection, act, row)
    return row
