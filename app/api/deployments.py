"""Deployments over HTTP."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response

from app.api import bodies, changes, lists, schemas
from app.api.answers import json_answer, json_bytes, operation_answer
from app.api.auth import KeyedRoute, TheAct, TheKey
from app.api.dependencies import JsonOnly, ResourceId, TheDepot
from app.api.values import Text
from app.http.errors import documented
from app.services import deployments

router = APIRouter(tags=["deployments"], route_class=KeyedRoute)

Visibility = Annotated[
    Literal["private", "public"] | None,
    Query(description="`private` for this depot's, as without it. `public` lists none: nobody else manages one here."),
]
Limit = Annotated[int | None, Query(ge=1, le=lists.LONGEST_PAGE, description="How many deployments to list at most.")]
Name = Annotated[Text | None, Query(description="List only the deployment of exactly this name.")]
OfModel = Annotated[UUID | None, Query(description="List only the deployments of the model with this id.")]
_EXAMPLES: dict[str, Any] = {
    "by name": {
        "summary": "A model by its name",
        "value": {"name": "embeddings", "model": {"name": "sentence-transformers/all-MiniLM-L6-v2"}},
    },
}


@router.post(
    "/ai/deployment",
    operation_id="create-deployment",
    summary="Declare that a model is in use",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(400, 404, 409, 412, 413, 415, 503)},
)
async def create_deployment(
    body: Annotated[bodies.CreateDeployment, Body(openapi_examples=_EXAMPLES)],
    depot: TheDepot,
    key: TheKey,
    act: TheAct,
) -> Response:
    """From here on the model can't be deleted, until the deployment is."""
    return operation_answer(await changes.create_deployment(depot, key, act, body))


@router.get(
    "/ai/deployment",
    operation_id="list-deployments",
    summary="List the deployments",
    response_class=Response,
    responses={200: {"model": schemas.DeploymentList}, **documented(400, 503)},
)
async def list_deployments(
    depot: TheDepot,
    key: TheKey,
    visibility: Visibility = None,
    name: Name = None,
    model: OfModel = None,
    limit: Limit = None,
) -> Response:
    """Every deployment, oldest first."""
    if visibility == "public":
        return json_bytes(b'{"deployments":[]}')
    return await depot.lists.of(lists.deployments(name, model, key.limit), limit=limit)


@router.get(
    "/ai/deployment/{id}",
    operation_id="get-deployment",
    summary="Look at a deployment",
    response_class=Response,
    responses={200: {"model": schemas.Deployment}, **documented(404, 503)},
)
async def get_deployment(deployment_id: ResourceId, depot: TheDepot) -> Response:
    async with depot.database.read() as connection:
        row = await deployments.get(connection, deployment_id)
    return json_answer(schemas.DEPLOYMENT, schemas.deployment(row))


@router.patch(
    "/ai/deployment/{id}",
    operation_id="update-deployment",
    summary="Change what a deployment is called and how its engine runs",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(400, 404, 409, 413, 415, 503)},
)
async def update_deployment(
    body: bodies.UpdateDeployment, deployment_id: ResourceId, depot: TheDepot, key: TheKey, act: TheAct
) -> Response:
    """Note what is said; what serves the model is not touched."""
    return operation_answer(await changes.update_deployment(depot, key, act, deployment_id, body))


@router.post(
    "/ai/deployment/{id}/scale",
    operation_id="scale-deployment",
    summary="Change how many replicas a deployment has",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(400, 404, 413, 415, 503)},
)
async def scale_deployment(
    body: bodies.ScaleDeployment, deployment_id: ResourceId, depot: TheDepot, key: TheKey, act: TheAct
) -> Response:
    """Note the number; what serves the model is not touched."""
    return operation_answer(await changes.scale_deployment(depot, key, act, deployment_id, body))


@router.delete(
    "/ai/deployment/{id}",
    operation_id="delete-deployment",
    summary="Declare that a model is no longer in use",
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(404, 503)},
)
async def delete_deployment(deployment_id: ResourceId, depot: TheDepot, act: TheAct) -> Response:
    """Forget the deployment; what serves the model is not touched."""
    return operation_answer(await changes.delete_deployment(depot, act, deployment_id))
