"""Models over HTTP."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response, StreamingResponse

from app.api import bodies, changes, events, lists, schemas, updates
from app.api.answers import json_answer, json_bytes, operation_answer
from app.api.auth import KeyedRoute, TheAct, TheKey
from app.api.dependencies import JsonOnly, ResourceId, TheDepot
from app.api.polling import PolledRoute
from app.api.values import Text
from app.domain.states import ModelStatus
from app.http.errors import documented
from app.services import lists as listing
from app.services import models
from app.services import updates as heirs

router = APIRouter(tags=["models"], route_class=KeyedRoute)
polled = APIRouter(tags=["models"], route_class=PolledRoute)

Limit = Annotated[int | None, Query(ge=1, le=lists.LONGEST_PAGE, description="How many models to list at most.")]
After = Annotated[UUID | None, Query(description="List what follows this model: the id of the last one of a page.")]
Name = Annotated[Text | None, Query(description="List only the models of exactly this repository.")]
Status = Annotated[ModelStatus | None, Query(description="List only the models in this status.")]
Urls = Annotated[
    bool | None, Query(description="Whether to give each file an address in the object store, for an hour at most.")
]
_EXAMPLES: dict[str, Any] = {
    "whole": {"summary": "A whole repository", "value": {"name": "sentence-transformers/all-MiniLM-L6-v2"}},
    "one file": {
        "summary": "One file of it",
        "value": {"name": "unsloth/gemma-3-270m-it-GGUF", "include": ["*Q4_K_M*.gguf"]},
    },
}
_EVENT = {
    "type": "object",
    "properties": {"event": {"enum": ["progress", "end"]}, "data": {"type": "string"}},
    "required": ["event", "data"],
}


@router.post(
    "/ai/model",
    operation_id="create-model",
    summary="Fetch a model",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(400, 409, 413, 415, 503)},
)
async def create_model(
    body: Annotated[bodies.CreateModel, Body(openapi_examples=_EXAMPLES)], depot: TheDepot, key: TheKey, act: TheAct
) -> Response:
    """Fetch a Hub repository, or part of it. The same request again retries a model that is in `error`."""
    return operation_answer(await changes.create_model(depot, key, act, body))


@router.get(
    "/ai/model",
    operation_id="list-models",
    summary="List the models",
    response_class=Response,
    responses={200: {"model": schemas.ModelList}, **documented(400, 503)},
)
async def list_models(
    depot: TheDepot, key: TheKey, limit: Limit = None, after: After = None, name: Name = None, status: Status = None
) -> Response:
    """Every model, oldest first; or a page of them: the last one when it holds fewer than its `limit`."""
    if not key.limit and limit is None and after is None and name is None and status is None:
        return await depot.lists.models()
    place = None
    if after is not None:
        async with depot.database.read() as connection:
            place = await listing.model_place(connection, after, key.limit)
    return await depot.lists.of(lists.models(name, status, key.limit), after=place, limit=limit)


@polled.get(
    "/ai/model/{id}",
    operation_id="get-model",
    summary="Look at a model",
    response_class=Response,
    responses={200: {"model": schemas.Model}, **documented(404, 503)},
)
async def get_model(model_id: ResourceId, depot: TheDepot) -> Response:
    return json_bytes(await depot.reads.model(model_id))


@router.patch(
    "/ai/model/{id}",
    operation_id="update-model",
    summary="Pause a model, resume it, or say how early it is fetched",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": schemas.Model}, **documented(400, 404, 409, 413, 415, 503)},
)
async def update_model(model_id: ResourceId, body: bodies.UpdateModel, depot: TheDepot, act: TheAct) -> Response:
    """A paused model keeps what arrived and goes on from there. Refused if nothing fetches it, or it is being deleted."""  # noqa: D401  # the document shows it
    await changes.update_model(depot, act, model_id, body)
    return json_bytes(await depot.reads.model(model_id))


@router.delete(
    "/ai/model/{id}",
    operation_id="delete-model",
    summary="Delete a model",
    response_class=Response,
    responses={
        200: {"model": schemas.Operation},
        412: {"model": schemas.ModelInUse, "description": "Deployments use the model."},
        **documented(404, 503),
    },
)
async def delete_model(model_id: ResourceId, depot: TheDepot, act: TheAct) -> Response:
    """Stop fetching it if need be, then remove its files. Refused while deployments use it."""
    return operation_answer(await changes.delete_model(depot, act, model_id))


@router.get(
    "/ai/model/{id}/files",
    operation_id="list-model-files",
    summary="List a model's files",
    response_class=Response,
    responses={200: {"model": schemas.FileList | schemas.SignedFileList}, **documented(400, 404, 409, 503)},
)
async def list_files(model_id: ResourceId, depot: TheDepot, urls: Urls = None) -> Response:
    """The files of a ready model with the checksums they were verified to have."""  # noqa: D401  # the document shows it
    async with depot.database.read() as connection:
        model = await models.get(connection, model_id)
    if urls and model.status == ModelStatus.READY:
        return await lists.signed_files(depot.database, depot.volume, model_id)
    return await depot.lists.of(lists.files(model))


@router.get(
    "/ai/model/{id}/latest",
    operation_id="get-latest-commit",
    summary="Look whether a model's revision has moved on the Hub",
    response_class=Response,
    responses={200: {"model": schemas.Latest}, **documented(404, 409, 503)},
)
async def get_latest_commit(model_id: ResourceId, depot: TheDepot) -> Response:
    """Has a worker ask the Hub, without a token, which commit the model's revision is at now: some seconds at most.

    409 if the Hub does not tell that without a token, 503 if no worker or no Hub answers at the moment.
    """
    found = await updates.look(depot, model_id)
    async with depot.database.read() as connection:
        heir = await heirs.heir(connection, model_id) if found.moved else None
    told = {"revision": found.branch, "commit": found.model.commit, "latest": found.latest, "moved": found.moved}
    return json_answer(schemas.LATEST, told | {"held_by": heir and heir.id})


@router.post(
    "/ai/model/{id}/refresh",
    operation_id="refresh-model",
    summary="Fetch what a model's branch is at now",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(400, 404, 409, 413, 415, 503)},
)
async def refresh_model(
    model_id: ResourceId, depot: TheDepot, act: TheAct, body: bodies.RefreshModel | None = None
) -> Response:
    """Fetch the newest commit of a ready model's branch or tag, as a model beside it; unchanged files are shared.

    The new one answers for the branch by name once it is ready; the old one stays until it is deleted. Refused with 409
    if the branch has not moved, or if what it is at is being fetched.
    """
    token = body.huggingface_token if body else None
    return operation_answer(await updates.refresh(depot, act, model_id, token))


@router.get(
    "/ai/model/{id}/events",
    operation_id="watch-model",
    summary="Watch a model's progress",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": _EVENT}}, "description": "Server-sent events"},
        **documented(404, 503),
    },
)
async def watch_model(model_id: ResourceId, depot: TheDepot, key: TheKey) -> Response:
    """Server-sent events: `progress` with the model whenever it changes, `end` with its operation, which is the last.

    The stream stops without an `end` within 5 seconds once the key is revoked or has expired.
    """
    async with depot.database.read() as connection:
        await models.get(connection, model_id)
    stream: AsyncIterator[bytes] = events.stream(
        depot.broadcast, model_id, partial(depot.authenticator.still_opens, key)
    )
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
