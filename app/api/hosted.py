"""The hosted API's routes on deployments that it runs. This depot runs none, and says so in the same shapes."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, TypeAdapter

from app.api.answers import json_answer
from app.api.auth import KeyedRoute
from app.api.dependencies import ResourceId, TheDepot
from app.domain.errors import NotFound
from app.http.errors import documented
from app.http.wire import Wire
from app.services import deployments

router = APIRouter(tags=["deployments"], route_class=KeyedRoute)

_LONGEST_TEXT = 1000
Version = Annotated[str | None, Query(max_length=_LONGEST_TEXT, description="Of the engine.")]
Stream = Annotated[bool | None, Query(description="Whether to go on with what is logged later. There is nothing.")]
Tail = Annotated[int | None, Query(ge=0, le=2**63 - 1, description="How many entries, from the end.")]


class LogEntry(Wire):
    time: AwareDatetime
    node: str
    message: str


class Logs(Wire):
    logs: list[LogEntry]


class InstanceType(Wire):
    family: str
    authorized: bool


class InstanceTypes(Wire):
    instance_types: list[InstanceType]


class EngineParameter(Wire):
    name: str
    flags: list[str]
    description: str


class EngineHelp(Wire):
    parameters: list[EngineParameter]


class Quota(Wire):
    """Of what models consume, in units a minute. Null is unlimited."""

    quota_uom_per_minute: int | None


class DeploymentKey(Wire):
    api_key: str


_LOGS, _TYPES, _HELP, _QUOTA = (TypeAdapter(shape) for shape in (Logs, InstanceTypes, EngineHelp, Quota))


@router.get(
    "/ai/deployment/{id}/logs",
    operation_id="get-deployment-logs",
    summary="Look at a deployment's log",
    response_class=Response,
    responses={200: {"model": Logs}, **documented(400, 404, 503)},
)
async def get_logs(deployment_id: ResourceId, depot: TheDepot, stream: Stream = None, tail: Tail = None) -> Response:  # noqa: ARG001
    """None: what serves the model keeps its own log."""
    async with depot.database.read() as connection:
        await deployments.get(connection, deployment_id)
    return json_answer(_LOGS, {"logs": []})


@router.get(
    "/ai/deployment/{id}/api-key",
    operation_id="reveal-deployment-api-key",
    summary="Ask for the key of what serves the model",
    response_class=Response,
    responses={200: {"model": DeploymentKey, "description": "Never sent by this depot."}, **documented(404, 503)},
)
async def reveal_key(deployment_id: ResourceId, depot: TheDepot) -> Response:
    """Always 404: this depot does not have it."""  # noqa: D401  # the document shows it
    async with depot.database.read() as connection:
        deployment = await deployments.get(connection, deployment_id)
    where = f" at {deployment.deployment_url}" if deployment.deployment_url else ""
    raise NotFound(
        f"This depot has no key of deployment {deployment.name!r}: what serves the model{where} was started by somebody "
        "else. Ask them for its key."
    )


@router.get(
    "/ai/instance-type",
    operation_id="list-ai-instance-types",
    summary="List the types of GPU to deploy on",
    response_class=Response,
    responses={200: {"model": InstanceTypes}},
)
async def list_instance_types() -> Response:
    """None: this depot has no GPUs. A deployment may name any `gpu-type`, or leave it out."""
    return json_answer(_TYPES, {"instance-types": []})


@router.get(
    "/ai/help/inference-engine-parameters",
    operation_id="get-inference-engine-help",
    summary="List the engine's parameters",
    response_class=Response,
    responses={200: {"model": EngineHelp}, **documented(400)},
)
async def get_engine_help(version: Version = None) -> Response:  # noqa: ARG001
    """None: this depot runs no engine. A deployment may name any parameters."""
    return json_answer(_HELP, {"parameters": []})


@router.get(
    "/ai/quota",
    operation_id="get-user-org-consumption-quota",
    summary="Look at the quota of what models consume",
    response_class=Response,
    responses={200: {"model": Quota}},
)
async def get_quota() -> Response:
    """Unlimited: this depot counts nothing of what models consume."""
    return json_answer(_QUOTA, {"quota-uom-per-minute": None})
