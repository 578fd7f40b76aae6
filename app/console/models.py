"""Pages that show a model, and retry, pause and delete one."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api import changes
from app.api.auth import audited
from app.api.bodies import CreateModel, UpdateModel
from app.api.dependencies import Depot, ResourceId, TheDepot
from app.api.events import ModelState
from app.console import engines
from app.console.command_lines import Line
from app.console.details import LOADABLE, files_of, hub_page
from app.console.forms import filled, is_sure, said
from app.console.pages import page, see
from app.console.progress import show
from app.console.session import SessionRoute, TheForm, operators_only
from app.domain.errors import ModelInUse, Reason, Refusal
from app.domain.states import UNDER_WAY, ModelStatus
from app.http.errors import status_of
from app.services import catalogue, contents, deployments, history, models, operations, updates
from app.services.rows import AcceptedOperation, ModelRecord

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_HISTORY, _HOLDERS = 20, 100
"""Most rows of each on a model's page."""
_TOKENS_MAY_HELP = frozenset({Reason.FORBIDDEN, Reason.NOT_FOUND})
_LARGEST_CONFIG = 1 << 20
"""Bytes; real files have a few thousand."""
_CHANGES: Mapping[str, tuple[UpdateModel, str]] = {
    "pause": (UpdateModel(paused=True, priority=None), "The download is paused."),
    "resume": (UpdateModel(paused=False, priority=None), "It is resumed."),
    "first": (UpdateModel(paused=None, priority=1), "It is fetched before models of usual priority."),
    "usual": (UpdateModel(paused=None, priority=0), "It has the usual priority."),
}
"""What a button changes, and what is said of that."""


@router.get("/console/models/{id}")
async def show_model(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    return await model_page(request, depot, model_id)


@router.post("/console/models/{id}/retry", operation_id="create-model")
async def retry(request: Request, depot: TheDepot, form: TheForm, model_id: ResourceId) -> Response:
    try:
        await fetch_again(request, model_id, form.get("token", ""))
    except Refusal as refusal:
        return await model_page(request, depot, model_id, refusal)
    return see(request, f"/models/{model_id}", said="It is tried again.")


async def fetch_again(request: Request, model_id: UUID, token: str = "") -> None:
    """Send the create of a model once more. Raises `Refusal`."""
    depot: Depot = request.app.state.depot
    key = request.state.session.key
    async with depot.database.read() as connection:
        wanted = await models.selection(connection, model_id)
    words = {"name": wanted.name, "revision": wanted.revision, "include": wanted.include, "exclude": wanted.exclude}
    async with audited(request, depot, key, "create-model") as act:
        act.resource_id = model_id
        await changes.create_model(depot, key, act, filled(CreateModel, words | {"huggingface-token": token}))


@router.post("/console/models/{id}/change", operation_id="update-model")
async def change(request: Request, depot: TheDepot, form: TheForm, model_id: ResourceId) -> Response:
    action = form.get("action", "")
    if action not in _CHANGES:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "Choose what to change of the model: pause, resume, first or usual."
        )
    try:
        await change_queue(request, model_id, action)
    except Refusal as refusal:
        return await model_page(request, depot, model_id, refusal)
    return see(request, f"/models/{model_id}", said=_CHANGES[action][1])


async def change_queue(request: Request, model_id: UUID, action: str) -> None:
    """Pause, resume or prioritise a model. Raises `Refusal`."""
    depot: Depot = request.app.state.depot
    async with audited(request, depot, request.state.session.key, "update-model") as act:
        act.resource_id = model_id
        await changes.update_model(depot, act, model_id, _CHANGES[action][0])


@router.get("/console/models/{id}/change")
@router.get("/console/models/{id}/look")
@router.get("/console/models/{id}/refresh")
@router.get("/console/models/{id}/retry")
async def back(request: Request, model_id: ResourceId) -> Response:
    """For who is left at that address by a change that was refused."""
    return see(request, f"/models/{model_id}")


@router.get("/console/models/{id}/delete")
async def ask_to_delete(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    """Are you sure?"""
    operators_only(request)
    return await _sure(request, depot, model_id)


@router.post("/console/models/{id}/delete", operation_id="delete-model")
async def delete(request: Request, depot: TheDepot, form: TheForm, model_id: ResourceId) -> Response:
    if not is_sure(form):
        return see(request, f"/models/{model_id}/delete")
    try:
        async with depot.database.read() as connection:
            model = await models.get(connection, model_id)
        await forget(request, model_id)
    except Refusal as refusal:
        return await _sure(request, depot, model_id, refusal)
    if model.status in UNDER_WAY and not model.deleting:
        return see(request, "", said=f"The download of {model.name} is cancelled, and what arrived is removed.")
    return see(request, "", said=f"{model.name} is deleted.")


async def forget(request: Request, model_id: UUID) -> AcceptedOperation:
    """Delete a model. Raises `Refusal`."""
    depot: Depot = request.app.state.depot
    async with audited(request, depot, request.state.session.key, "delete-model") as act:
        act.resource_id = model_id
        return await changes.delete_model(depot, act, model_id)


async def model_page(request: Request, depot: Depot, model_id: UUID, refusal: Refusal | None = None) -> Response:
    """Render a model's page, after a refused change with the refusal."""
    async with depot.database.read() as connection:
        newest = await operations.newest(connection, [model_id])
        model = await models.get(connection, model_id)
        ready = model.status == ModelStatus.READY
        listed = await files_of(request, connection, model)
        own, shared = await contents.share(connection, model_id) if ready else (model.downloaded or 0, 0)
        paths = await catalogue.paths(connection, model_id, engines.ENDINGS, limit=LOADABLE) if model.path else []
        past = await history.of(connection, model_id, limit=_HISTORY)
        holders = await deployments.newest(connection, limit=_HOLDERS, model_id=model_id)
        heir = await updates.heir(connection, model_id) if updates.is_available(model) else None
        older, newer = await updates.relatives(connection, model)
    lines, by_name = await _engines(depot, model, paths)
    return page(
        request,
        "model.html",
        status=status_of(refusal) if refusal else HTTPStatus.OK,
        id=model_id,
        shown=show(ModelState(model, newest.get(model_id))),
        model=model,
        **listed,
        frees=own if depot.volume.links else own + shared,
        hub=hub_page(depot.hub, model.name),
        needs_token=model.reason in _TOKENS_MAY_HELP,
        engines=lines,
        by_name=by_name,
        history=past,
        holders=holders,
        heir=heir,
        older=older,
        newer=newer,
        refusal=said(refusal),
    )


async def _engines(
    depot: Depot, model: ModelRecord, paths: Sequence[str]
) -> tuple[tuple[list[Line], list[Line]], list[Line]]:
    """Return ((lines that load it, lines for its other quantizations), lines that load it elsewhere by its name)."""
    if not model.path:
        return ([], []), []
    has_config = engines.CONFIG in paths
    config = await depot.volume.read(model.id, engines.CONFIG, _LARGEST_CONFIG) if has_config else None
    elsewhere = engines.by_name(model.name, models.branch_of(model), depot.address, paths, config)
    return engines.to_serve(model.name, model.path, paths, config, endpoint=depot.s3_endpoint), elsewhere


async def _sure(request: Request, depot: Depot, model_id: UUID, refusal: Refusal | None = None) -> Response:
    """Render the confirmation of a delete; a refusal while deployments hold it."""
    async with depot.database.read() as connection:
        model = await models.get(connection, model_id)
        holders = await deployments.newest(connection, limit=_HOLDERS, model_id=model_id)
        own, shared = await contents.share(connection, model_id)
    status = status_of(refusal) if refusal else HTTPStatus.OK
    shown = refusal or (ModelInUse([row.id for row in holders]) if holders else None)
    return page(
        request,
        "delete_model.html",
        status=status,
        model=model,
        holders=holders,
        refusal=said(shown),
        frees=own if depot.volume.links else own + shared,
    )
