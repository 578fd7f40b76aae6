"""Deployments over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response

from app.api import schemas
from app.api.answers import json_answer, operation_answer
from app.api.auth import KeyedRoute, TheAct
from app.api.dependencies import JsonOnly, ResourceId, TheDepot
from app.api.errors import documented
from app.services import audit, deployments

router = APIRouter(tags=["deployments"], route_class=KeyedRoute)

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
    responses={200: {"model": schemas.Operation}, **documented(400, 404, 412, 413, 415, 503)},
)
async def create_deployment(
    body: Annotated[schemas.CreateDeployment, Body(openapi_examples=_EXAMPLES)], depot: TheDepot, act: TheAct
) -> Response:
    """From here on the model can't be deleted, until the deployment is."""
    async with depot.database.begin() as connection:
        row = await deployments.create(
            connection,
            model_id=body.model.id,
            model_name=body.model.name,
            name=body.name,
            gpu_type=body.gpu_type,
            gpu_count=body.gpu_count,
            replicas=body.replicas,
            deployment_url=body.deployment_url,
            inference_engine_version=body.inference_engine_version,
            inference_engine_parameters=body.inference_engine_parameters or [],
            request_id=act.request_id,
        )
        await audit.accept(connection, act, row.resource_id)
    return operation_answer(row)


@router.get(
    "/ai/deployment",
    operation_id="list-deployments",
    summary="List the deployments",
    response_class=Response,
    responses={200: {"model": schemas.DeploymentList}, **documented(503)},
)
async def list_deployments(depot: TheDepot) -> Response:
    """Every deployment, oldest first."""
    async with depot.database.read() as connection:
        rows = await deployments.list_all(connection)
    return json_answer(schemas.DEPLOYMENTS, {"deployments": [schemas.deployment(row) for row in rows]})


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


@router.delete(
    "/ai/deployment/{id}",
    operation_id="delete-deployment",
    summary="Declare that a model is no longer in use",
    response_class=Response,
    responses={200: {"model": schemas.Operation}, **documented(404, 503)},
)
async def delete_deployment(deployment_id: ResourceId, depot: TheDepot, act: TheAct) -> Response:
    """Forget the deployment; what serves the model is not touched."""
    async with depot.database.begin() as connection:
        row = await deployments.remove(connection, deployment_id, request_id=act.request_id)
        await audit.accept(connection, act, row.resource_id)
    return operation_answer(row)
