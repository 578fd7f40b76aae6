"""Buttons of a model's page that look whether its branch has moved on the Hub, and fetch what it is at now."""

from fastapi import APIRouter, Request, Response

from app.api import updates
from app.api.auth import audited
from app.api.dependencies import ResourceId, TheDepot
from app.console.models import model_page
from app.console.pages import see
from app.console.session import SessionRoute
from app.domain.errors import Refusal

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)


@router.post("/console/models/{id}/look", operation_id="get-latest-commit")
async def look(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    try:
        found = await updates.look(depot, model_id)
    except Refusal as refusal:
        return await model_page(request, depot, model_id, refusal)
    how = "has moved on the Hub." if found.moved else "has not moved: this model is up to date."
    return see(request, f"/models/{model_id}", said=f"{found.branch} {how}")


@router.post("/console/models/{id}/refresh", operation_id="refresh-model")
async def refresh(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    try:
        async with audited(request, depot, request.state.session.key, "refresh-model") as act:
            operation = await updates.refresh(depot, act, model_id, None)
    except Refusal as refusal:
        return await model_page(request, depot, model_id, refusal)
    return see(request, f"/models/{operation.resource_id}", said="The update is being fetched.")
