"""Pages that list, add and delete deployments."""

from collections import Counter
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.api import changes
from app.api.auth import audited
from app.api.bodies import CreateDeployment
from app.api.dependencies import Depot, ResourceId, TheDepot
from app.console.forms import an_id, filled, is_sure, number, said
from app.console.lists import PER_PAGE, Chip, Listing
from app.console.many import ask, change_each, ticked
from app.console.pages import inside, page, see
from app.console.session import Form, SessionRoute, TheForm, TheSession, operators_only
from app.domain.errors import Refusal
from app.http.errors import status_of
from app.services import deployments
from app.services.deployments import Kind
from app.services.rows import AcceptedOperation

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_OFFERED = 500
"""Models offered in the form, which accepts others, too."""
_TEXTS, _COUNTS = ("gpu-type", "deployment-url", "key", "inference-engine-version"), ("gpu-count", "replicas")
_FIELDS = ("name", "model", "inference-engine-parameters", *_TEXTS, *_COUNTS)


@router.get("/console/deployments")
async def list_deployments(request: Request, depot: TheDepot) -> Response:
    return await _list(request, depot, dict(request.query_params), None)


@router.post("/console/deployments", operation_id="create-deployment")
async def create(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    try:
        async with audited(request, depot, session.key, "create-deployment") as act:
            made = await changes.create_deployment(depot, session.key, act, filled(CreateDeployment, _wanted(form)))
    except Refusal as refusal:
        return await _list(request, depot, form, refusal)
    return see(request, f"/deployments#d-{made.resource_id}", said=f"{made.resource_name} is added.")


@router.get("/console/deployments/{id}/delete")
async def ask_to_delete(request: Request, depot: TheDepot, deployment_id: ResourceId) -> Response:
    """Are you sure?"""
    operators_only(request)
    async with depot.database.read() as connection:
        row = await deployments.get(connection, deployment_id)
    return page(request, "delete_deployment.html", row=row)


@router.post("/console/deployments/{id}/delete", operation_id="delete-deployment")
async def delete(request: Request, depot: TheDepot, form: TheForm, deployment_id: ResourceId) -> Response:
    if not is_sure(form):
        return see(request, f"/deployments/{deployment_id}/delete")
    try:
        operation = await _forget(request, deployment_id)
    except Refusal as refusal:
        return await _list(request, depot, {}, refusal)
    return see(request, "/deployments", said=f"{operation.resource_name} is deleted.")


@router.post("/console/deployments/bulk", operation_id="delete-deployment")
async def delete_many(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    """Delete those that are ticked, once it is sure."""
    chosen = [deployment_id for one in ticked(form) if (deployment_id := an_id(one))]
    back = inside(form.get("back", "")) or "/deployments"
    async with depot.database.read() as connection:
        rows = await deployments.get_many(connection, chosen, reach=session.key.limit)

    if rows and not is_sure(form):
        named = [(row.id, row.name, row.model_name) for row in rows]
        notes = ["What serves the models is not touched, but they may be deleted under it."]
        return ask(request, "deployment", named, action="delete", done="deleted", notes=notes, yes="Delete", back=back)
    forget = partial(_forget, request)
    return see(request, back, said=await change_each([row.id for row in rows], forget, "deployment", "deleted"))


@router.get("/console/deployments/bulk")
async def show(request: Request) -> Response:
    """For who is left at that address by a question."""
    return see(request, "/deployments")


async def _forget(request: Request, deployment_id: UUID) -> AcceptedOperation:
    """Delete a deployment. Raises `Refusal`."""
    depot: Depot = request.app.state.depot
    async with audited(request, depot, request.state.session.key, "delete-deployment") as act:
        act.resource_id = deployment_id
        return await changes.delete_deployment(depot, act, deployment_id)


def _wanted(form: Form) -> dict[str, Any]:
    """Return the API's fields. The form has the model's id or name, and one parameter per line."""
    model = form.get("model", "")
    lines = [line.strip() for line in form.get("inference-engine-parameters", "").splitlines()]
    return {
        "name": form.get("name", ""),
        "model": {"id": model} if an_id(model) else {"name": model},
        "inference-engine-parameters": [line for line in lines if line],
        **{name: form.get(name) or None for name in _TEXTS},
        **{name: number(form.get(name, "")) for name in _COUNTS},
    }


async def _list(request: Request, depot: Depot, form: Form, refusal: Refusal | None) -> Response:
    reach = request.state.session.key.limit
    listing = Listing(request, sorts=deployments.SORTS, fields={"q": None, "kind": tuple(Kind), "of": None})
    kind, of = Kind(listing.asked["kind"]) if listing.asked["kind"] else None, an_id(listing.asked["of"])
    listing.asked["of"] = str(of or "")
    search = deployments.Search(listing.asked["q"], kind, reach, of)
    async with depot.database.read() as connection:
        counts = await deployments.counts(connection, search)
        listing.count(counts[kind] if kind else sum(counts.values()))
        rows = await deployments.find(connection, search, sort=listing.sort, limit=PER_PAGE, offset=listing.offset)
        offered = await deployments.deployable(connection, limit=_OFFERED, reach=reach)
        one = an_id(form.get("model", ""))
        chosen = await deployments.deployable(connection, limit=1, model_id=one, reach=reach) if one else []
    return page(
        request,
        "deployments.html",
        status=status_of(refusal) if refusal else HTTPStatus.OK,
        rows=rows,
        list=listing,
        chips_of_kind=[Chip("", "all", sum(counts.values())), *(Chip(one, one, counts[one]) for one in Kind)],
        chips_of_model=[Chip("", "all"), Chip(str(of), rows[0].model_name if rows else str(of))] if of else [],
        offered=offered,
        # A name alone would not tell these apart.
        times=Counter(model.name for model in offered),
        chosen=chosen[0] if chosen else None,
        form={name: form.get(name, "") for name in _FIELDS},
        refusal=said(refusal),
    )
