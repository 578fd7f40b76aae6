"""Changes of many models at once: those that are ticked in a list, or all that failed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api.dependencies import Depot, TheDepot
from app.console.forms import an_id, is_sure
from app.console.many import amount, ask, change_each, ticked
from app.console.models import change_queue, fetch_again, forget
from app.console.pages import inside, see
from app.console.session import SessionRoute, TheForm, TheSession
from app.console.words import size
from app.domain.states import UNDER_WAY, ModelStatus
from app.services import catalogue, contents, deployments, models
from app.services.catalogue import Search
from app.services.rows import ModelRecord

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_MOST = 500
"""Models that are tried again at once."""
_SUITS: Mapping[str, Sequence[ModelStatus]] = {
    "retry": (ModelStatus.ERROR,),
    "retry-all": (ModelStatus.ERROR,),
    "dismiss": (ModelStatus.ERROR,),
    "pause": UNDER_WAY,
    "resume": UNDER_WAY,
    "cancel": UNDER_WAY,
    "delete": tuple(ModelStatus),
}
"""For each action, the statuses of the models that it is for."""
_SAID = {
    "retry": "tried again",
    "retry-all": "tried again",
    "dismiss": "dismissed",
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "delete": "deleted",
}
_ASKED = frozenset({"cancel", "delete", "dismiss"})
"""What is done once the user has confirmed it."""


@router.post("/console/models/bulk", operation_id="change-models")
async def change(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    action = form.get("action", "")
    if action not in _SUITS:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "Choose what to do with the models: retry, pause, resume, cancel or delete."
        )
    back = inside(form.get("back", ""))
    async with depot.database.read() as connection:
        if action == "retry-all":
            search = Search(status=ModelStatus.ERROR, limit=session.key.limit)
            rows = list(await catalogue.find(connection, search, limit=_MOST, offset=0))
        else:
            chosen = [model_id for one in ticked(form) if (model_id := an_id(one))]
            found = await models.get_many(connection, chosen)
            rows = [row for row in found.values() if session.key.may_read(row.name)]
    if action in _ASKED and not is_sure(form) and rows:
        return await _ask(request, depot, rows, action, back)
    return see(request, back, said=await _change_all(request, action, rows))


@router.get("/console/models/bulk")
async def show(request: Request) -> Response:
    """For who is left at that address by a question."""
    return see(request, "")


async def _ask(request: Request, depot: Depot, rows: Sequence[ModelRecord], action: str, back: str) -> Response:
    """Are you sure? Say what it frees, and which models stay since something holds them."""
    async with depot.database.read() as connection:
        held = await deployments.held(connection, [row.id for row in rows])
        free = [row for row in rows if row.id not in held]
        ready = [row for row in free if row.status == ModelStatus.READY]
        own, _ = await contents.share(connection, *(row.id for row in ready))
    frees = own if depot.volume.links else sum(row.model_size or 0 for row in ready)
    frees += sum(row.downloaded or 0 for row in free if row.status != ModelStatus.READY)
    notes = [f"What the storage has of them is removed, which frees {size(frees)}."] if free else []
    if held:
        notes.append(
            f"{amount(len(held), 'model')} stay{'s' if len(held) == 1 else ''}, used by deployments: delete these first."
        )
    yes = {"delete": "Delete", "cancel": "Cancel the downloads", "dismiss": "Dismiss"}[action]
    named = [(row.id, row.name, "used by deployments" if row.id in held else _size(row)) for row in rows]
    yes = yes if free else ""
    return ask(request, "model", named, action=action, done=_SAID[action], notes=notes, yes=yes, back=back)


def _size(row: ModelRecord) -> str:
    count = row.model_size if row.status == ModelStatus.READY else row.downloaded
    return size(count) if count else ""


async def _change_all(request: Request, action: str, rows: Sequence[ModelRecord]) -> str:
    """Change the models that the action is for. Return what to say of it."""
    if not rows:
        return "No model was selected."
    suited = [row.id for row in rows if row.status in _SUITS[action] and not row.deleting]
    told = await change_each(suited, partial(_way_of(action), request), "model", _SAID[action])
    if unsuited := len(rows) - len(suited):
        told += f" {amount(unsuited, 'model')} {'was' if unsuited == 1 else 'were'} not in a state for that."
    return told


def _way_of(action: str) -> Callable[[Request, UUID], Awaitable[object]]:
    if action.startswith("retry"):
        return fetch_again
    return partial(change_queue, action=action) if action in {"pause", "resume"} else forget
