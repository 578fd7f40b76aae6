"""The deployments: listed, declared, deleted."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from app.api import changes
from app.api.auth import audited
from app.api.dependencies import Depot, ResourceId, TheDepot
from app.api.errors import status_of
from app.api.schemas import CreateDeployment
from app.console.forms import filled, number, said
from app.console.pages import page, see
from app.console.session import Form, SessionRoute, TheForm, TheSession
from app.domain.errors import Refusal
from app.services import deployments

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_SHOWN, _OFFERED = 200, 200
"""Deployments, and models to choose from."""
_FIELDS = ("name", "model", "gpu-type", "gpu-count", "replicas", "deployment-url", "inference-engine-version")


@router.get("/console/deployments")
async def list_deployments(request: Request, depot: TheDepot) -> Response:
    return await _list(request, depot, dict(request.query_params), None)


@router.post("/console/deployments")
async def create(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    try:
        async with audited(request, depot, session.key, "create-deployment") as act:
            await changes.create_deployment(depot, act, filled(CreateDeployment, _wanted(form)))
    except Refusal as refusal:
        return await _list(request, depot, form, refusal)
    return see(request, "/deployments")


@router.post("/console/deployments/{id}/delete")
async def delete(request: Request, depot: TheDepot, session: TheSession, deployment_id: ResourceId) -> Response:
    try:
        async with audited(request, depot, session.key, "delete-deployment") as act:
            await changes.delete_deployment(depot, act, deployment_id)
    except Refusal as refusal:
        return await _list(request, depot, {}, refusal)
    return see(request, "/deployments")


def _wanted(form: Form) -> dict[str, Any]:
    texts = {name: form.get(name) or None for name in ("gpu-type", "deployment-url", "inference-engine-version")}
    counts = {name: number(form.get(name, "")) for name in ("gpu-count", "replicas")}
    return {"name": form.get("name", ""), "model": {"name": form.get("model") or None}} | texts | counts


async def _list(request: Request, depot: Depot, form: Form, refusal: Refusal | None) -> Response:
    async with depot.database.read() as connection:
        rows = await deployments.newest(connection, limit=_SHOWN)
        count = await deployments.count(connection)
        offered = await deployments.deployable(connection, limit=_OFFERED)
    return page(
        request,
        "deployments.html",
        status=status_of(refusal) if refusal else HTTPStatus.OK,
        rows=rows,
        count=count,
        offered=sorted({row.name for row in offered}),
        form={name: form.get(name, "") for name in _FIELDS},
        refusal=said(refusal),
    )
