"""The page that adds a model: a search of the Hub, the plan of what is chosen, and the same as command lines."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api import asking, changes
from app.api.auth import audited
from app.api.dependencies import Depot, TheDepot
from app.api.schemas import CreateModel
from app.console import choosing, command_lines
from app.console.choosing import Wanted
from app.console.command_lines import Line
from app.console.forms import filled, said
from app.console.pages import page, see
from app.console.session import Form, Session, SessionRoute, TheForm, TheSession, operators_only
from app.domain.errors import Forbidden, NotFound, Refusal
from app.http.errors import status_of

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_STARTERS = (
    ("Qwen/Qwen2.5-0.5B-Instruct", "A small chat model, for vLLM and Transformers: about 1 GB."),
    ("Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M", "The same for llama.cpp and Ollama: about 0.5 GB."),
    ("BAAI/bge-small-en-v1.5", "Text embeddings in English: about 0.4 GB."),
)
"""For who has no model yet. All are open to everybody and may be used for anything."""
_FIELDS = ("name", "revision", "include", "exclude")


@router.get("/console/models/new")
async def ask(request: Request, depot: TheDepot) -> Response:
    operators_only(request)
    return await _form(request, depot, dict(request.query_params), None)


@router.get("/console/models/commands")
async def other_means(request: Request, depot: TheDepot) -> Response:
    """Only that part of the form's page. The token is none of its parameters."""
    return page(request, "commands.html", lines=_lines(depot, choosing.guessed(dict(request.query_params), depot.hub)))


@router.post("/console/models/look", operation_id="plan-model")
async def look(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    """Only that part of the form's page which tells what the Hub has."""
    if words := choosing.words_of(form):
        matches, problem = await _matches(depot, session, words)
        return _looked(request, matches=matches, problem=problem)
    if not form.get("name"):
        return _looked(request)
    try:
        planned = await choosing.planned(depot, session.key, choosing.wanted(form, depot.hub))
    except NotFound as refusal:
        name = choosing.guessed(form, depot.hub).name
        matches, _ = await _matches(depot, session, name.partition("/")[2])
        return _looked(request, matches=matches or None, refusal=refusal)
    except Refusal as refusal:
        return _looked(request, refusal=refusal)
    return _looked(request, planned=planned, lines=_lines(depot, planned.wanted))


@router.post("/console/models/new", operation_id="create-model")
async def add(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    try:
        async with audited(request, depot, session.key, "create-model") as act:
            wanted = await choosing.resolved(depot, session.key, form)
            operation = await changes.create_model(depot, session.key, act, filled(CreateModel, wanted.words))
    except Refusal as refusal:
        return await _form(request, depot, form, refusal)
    return see(request, f"/models/{operation.resource_id}")


@router.get("/console/models/look")
async def back(request: Request) -> Response:
    return see(request, "/models/new")


async def _matches(depot: Depot, session: Session, words: str) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Return (what the Hub has, why it tells nothing)."""
    try:
        return await asking.search(depot, session.key, words, choosing.FOUND), ""
    except Refusal as refusal:
        return [], refusal.message
    except HTTPException as refusal:
        return [], refusal.detail


def _looked(request: Request, **found: Any) -> Response:
    """Render what was found. `matches` replaces the list that the page shows, unless it is None."""
    refusal = found.pop("refusal", None)
    told = {"matches": None, "problem": "", "planned": None, "lines": None} | found
    may_need_token = isinstance(refusal, (Forbidden, NotFound)) and refusal.field is None
    return page(request, "look.html", refusal=said(refusal), may_need_token=may_need_token, **told)


async def _form(request: Request, depot: Depot, form: Form, refusal: Refusal | None) -> Response:
    """Render the form, empty or as sent, but never with the token."""
    async with depot.database.read() as connection:
        totals = await depot.figures.models.look(connection)
    return page(
        request,
        "add.html",
        status=status_of(refusal) if refusal else HTTPStatus.OK,
        form={name: form.get(name, "") for name in _FIELDS},
        lines=_lines(depot, choosing.guessed(form, depot.hub)),
        refusal=said(refusal),
        starters=() if any(total.number for total in totals.values()) else _STARTERS,
        searches=depot.searches is not None,
    )


def _lines(depot: Depot, wanted: Wanted) -> Sequence[Line]:
    name = f"{wanted.name}:{wanted.tag}" if wanted.tag else wanted.name
    return command_lines.to_create(
        depot.address, name, wanted.revision or "", wanted.include or (), wanted.exclude or ()
    )
