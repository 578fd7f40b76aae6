"""Changes of many models at once: those that are ticked in a list, or all that failed."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api.dependencies import TheDepot
from app.console.forms import an_id, is_sure
from app.console.models import change_queue, fetch_again, forget
from app.console.pages import inside, page, see
from app.console.session import Form, SessionRoute, TheForm, TheSession
from app.domain.errors import Refusal
from app.domain.states import UNDER_WAY, ModelStatus
from app.services import catalogue, models
from app.services.catalogue import Search
from app.services.rows import ModelRecord

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_PREFIX = "m-"
"""Of a box's name, before the model's id."""
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
            found = await models.get_many(connection, _ticked(form))
            rows = [row for row in found.values() if session.key.may_read(row.name)]
    if action in _ASKED and not is_sure(form) and rows:
        return page(request, "bulk.html", rows=rows, action=action, said=_SAID[action], back=back)
    return see(request, back, said=await _change_all(request, action, rows))


@router.get("/console/models/bulk")
async def show(request: Request) -> Response:
    """For who is left at that address by a question."""
    return see(request, "")


def _ticked(form: Form) -> list[UUID]:
    named = (an_id(name.removeprefix(_PREFIX)) for name in form if name.startswith(_PREFIX))
    return [model_id for model_id in named if model_id]


async def _change_all(request: Request, action: str, rows: Sequence[ModelRecord]) -> str:
    """Change the models that the action is for. Return what to say of it."""
    suited = [row for row in rows if row.status in _SUITS[action] and not row.deleting]
    refusals: Counter[str] = Counter()
    do = _way_of(action)
    for row in suited:
        try:
            await do(request, row.id)
        except Refusal as refusal:
            refusals[refusal.message] += 1
    done = len(suited) - refusals.total()
    parts = [f"{_models(done)} {'is' if done == 1 else 'are'} {_SAID[action]}."]
    if unsuited := len(rows) - len(suited):
        parts.append(f"{_models(unsuited)} {'was' if unsuited == 1 else 'were'} not in a state for that.")
    parts += [f"{_models(count)} refused: {message}" for message, count in refusals.most_common(2)]
    return " ".join(parts) if rows else "No model was selected."


def _way_of(action: str) -> Callable[[Request, UUID], Awaitable[object]]:
    if action.startswith("retry"):
        return fetch_again
    return partial(change_queue, action=action) if action in {"pause", "resume"} else forget


def _models(count: int) -> str:
    return f"{count} model{'' if count == 1 else 's'}"
