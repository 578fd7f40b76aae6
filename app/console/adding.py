"""The page that adds a model: a search of the Hub, the plan of what is chosen, and the same as command lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.api import changes
from app.api.auth import audited
from app.api.bodies import CreateModel
from app.api.dependencies import Depot, TheDepot
from app.console import choosing, command_lines, finding
from app.console.choosing import Planned, Wanted
from app.console.command_lines import Line
from app.console.finding import Matches
from app.console.forms import filled, said
from app.console.pages import page, see
from app.console.session import Form, Session, SessionRoute, TheForm, TheSession, operators_only
from app.domain import pasted
from app.domain.errors import Conflict, Forbidden, NoAnswer, NotFound, Refusal
from app.domain.states import ModelStatus
from app.http.errors import status_of
from app.services import models

_STARTERS = (
    ("Qwen/Qwen2.5-0.5B-Instruct", "A small chat model, for vLLM and Transformers: about 1 GB."),
    ("Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M", "The same for llama.cpp and Ollama: about 0.5 GB."),
    ("BAAI/bge-small-en-v1.5", "Text embeddings in English: about 0.4 GB."),
)
"""For who has no model yet. All are open to everybody and may be used for anything."""
_FIELDS = ("name", "revision", "include", "exclude")


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the Hub found. `matches` replaces the list that the page shows, unless it is None."""

    matches: Matches | None = None
    planned: Planned | None = None
    refusal: Refusal | None = None

    @property
    def may_need_token(self) -> bool:
        refusal = self.refusal
        if isinstance(refusal, NoAnswer):
            return refusal.after is not None  # the Hub limits the rate, less so for who has a token
        return isinstance(refusal, (Forbidden, NotFound)) and refusal.field is None

    @property
    def may_try_again(self) -> bool:
        return isinstance(self.refusal, NoAnswer)

    @property
    def fits(self) -> bool:
        """Whether the storage has room for it, as far as that is known."""
        space = self.planned.plan["space"] if self.planned else None
        return not space or bool(space["fits"])


class AddingRoute(SessionRoute):
    """A page with the add page's form, which a sign-in must not empty. A token is none of what is kept."""

    kept = _FIELDS


router = APIRouter(include_in_schema=False, route_class=AddingRoute, default_response_class=Response)


@router.get("/console/models/new")
async def ask(request: Request, depot: TheDepot) -> Response:
    operators_only(request)
    return await _form(request, depot, dict(request.query_params))


@router.get("/console/models/commands")
async def other_means(request: Request, depot: TheDepot) -> Response:
    """Only that part of the form's page. The token is none of its parameters."""
    return page(request, "commands.html", lines=_lines(depot, choosing.guessed(dict(request.query_params), depot.hub)))


@router.post("/console/models/look", operation_id="plan-model")
async def look(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    """Tell what the Hub has: to a script, only that part of the form's page which does."""
    looked = await _look(depot, session, form)
    if "hx-request" not in request.headers:
        return await _form(request, depot, form, looked=looked)
    lines = _lines(depot, looked.planned.wanted) if looked.planned else None
    return page(request, "look.html", looked=looked, lines=lines)


@router.get("/console/models/look")
async def look_at_one(request: Request, depot: TheDepot) -> Response:
    """Do the same for a link, whose address holds no token."""
    session = operators_only(request)
    form = {name: request.query_params.get(name, "") for name in _FIELDS}
    return await _form(request, depot, form, looked=await _look(depot, session, form))


@router.post("/console/models/new", operation_id="create-model")
async def add(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    form, matches = await finding.completed(depot, session.key, form)
    looked = Looked(matches)
    if matches and matches.models:
        return await _form(request, depot, form, looked=looked)
    try:
        async with audited(request, depot, session.key, "create-model") as act:
            wanted = await choosing.resolved(depot, session.key, form)
            body = filled(CreateModel, wanted.words)
            try:
                operation = await changes.create_model(depot, session.key, act, body)
            except Conflict:
                act.resource_id = await _standing(depot, body)
                raise
    except Refusal as refusal:
        if isinstance(refusal, Conflict) and act.resource_id:
            return see(request, f"/models/{act.resource_id}", said="It is here already.")
        return await _form(request, depot, form, refusal, looked)
    return see(request, f"/models/{operation.resource_id}")


async def _look(depot: Depot, session: Session, form: Form) -> Looked:
    if words := finding.words_of(form):
        return Looked(await finding.matches(depot, session.key, form, words))
    if not form.get("name"):
        return Looked()
    try:
        return Looked(planned=await choosing.planned(depot, session.key, choosing.wanted(form, depot.hub)))
    except NotFound as refusal:
        name = choosing.guessed(form, depot.hub).name
        alike = await finding.matches(depot, session.key, form, name.partition("/")[2])
        return Looked(alike if alike.models else None, refusal=refusal)
    except Refusal as refusal:
        return Looked(refusal=refusal)


async def _standing(depot: Depot, body: CreateModel) -> UUID | None:
    """Return the model that stands in the way of a create, if it is there to stay."""
    selection = await changes.settled(depot, changes.selected(body, depot.hub))
    async with depot.database.read() as connection:
        model = await models.of_selection(connection, selection.fingerprint)
    return model.id if model and not model.deleting and model.status != ModelStatus.ERROR else None


async def _form(
    request: Request, depot: Depot, form: Form, refusal: Refusal | None = None, looked: Looked | None = None
) -> Response:
    """Render the form, empty or as sent, but never with the token; and what was found at once, where no script asks."""
    looked = looked or Looked()
    async with depot.database.read() as connection:
        totals = await depot.figures.models.look(connection)
    return page(
        request,
        "add.html",
        status=status_of(refusal) if refusal else HTTPStatus.OK,
        form={name: form.get(name, "") for name in _FIELDS},
        lines=_lines(depot, looked.planned.wanted if looked.planned else choosing.guessed(form, depot.hub)),
        refusal=said(refusal),
        starters=() if any(total.number for total in totals.values()) else _STARTERS,
        searches=depot.searches is not None,
        looked=looked,
    )


def _lines(depot: Depot, wanted: Wanted) -> Sequence[Line]:
    name = f"{wanted.name}:{wanted.tag}" if wanted.tag else wanted.name
    revision, include, exclude = wanted.revision or "", wanted.include or (), wanted.exclude or ()
    # Patterns that were typed may leave out what belongs to a quantization, such as its projector.
    by_name = not (wanted.is_typed or exclude)
    short = pasted.name_of(name, revision or "main", include) if by_name else None
    return command_lines.to_create(depot.address, name, revision, include, exclude, short=short)
