"""What the Hub has, over HTTP: plans of downloads, and a search. Workers ask the Hub; the API needs no way out."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response

from app.api import asking, bodies, changes, hub_schemas
from app.api.answers import json_answer
from app.api.auth import KeyedRoute, PlanningRoute, TheKey
from app.api.dependencies import JsonOnly, TheDepot
from app.api.values import Text
from app.http.errors import documented

router = APIRouter(tags=["hub"], route_class=KeyedRoute)
_planning = APIRouter(tags=["hub"], route_class=PlanningRoute)

Words = Annotated[Text, Query(max_length=200, description="Words that the names must have.")]
Most = Annotated[int, Query(ge=1, le=100, description="How many models to list at most.")]
_EXAMPLES: dict[str, Any] = {
    "whole": {"summary": "A whole repository", "value": {"name": "sentence-transformers/all-MiniLM-L6-v2"}},
}


@_planning.post(
    "/ai/model/plan",
    operation_id="plan-model",
    summary="Say what a create would fetch",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": hub_schemas.Plan}, **documented(400, 404, 413, 415, 503)},
)
async def plan_model(
    body: Annotated[bodies.CreateModel, Body(openapi_examples=_EXAMPLES)], depot: TheDepot, key: TheKey
) -> Response:
    """Has a worker ask the Hub what a create with this body would do; nothing is fetched. It takes 10 seconds at most.

    403 if the Hub refuses the token, 404 if it shows no such repository or revision, 429 for a key that asks too often,
    503 if no worker or no Hub answers.
    """
    plan = await asking.plan(depot, key, changes.selected(body, depot.hub), body.huggingface_token)
    return json_answer(hub_schemas.PLAN, plan)


@router.get(
    "/ai/hub",
    operation_id="get-hub",
    summary="Say which Hub models are fetched from",
    response_class=Response,
    responses={200: {"model": hub_schemas.Hub}},
)
async def get_hub(depot: TheDepot) -> Response:
    """Tells clients whose pages' addresses they may take for models' names: the Hub's own, or a mirror's."""
    return json_answer(hub_schemas.HUB, {"address": depot.hub})


@router.get(
    "/ai/hub/search",
    operation_id="search-hub",
    summary="Find models on the Hub by name",
    response_class=Response,
    responses={200: {"model": hub_schemas.FoundModels}, **documented(400, 503)},
)
async def search_hub(depot: TheDepot, key: TheKey, q: Words, limit: Most = 20) -> Response:
    """The Hub's public models whose names have all the words, those with the most downloads first.

    A minute old at most. 403 where it is switched off, 429 for a key that asks too often.
    """  # noqa: D401  # the document shows it
    permitted = await asking.search(depot, key, q, limit)
    return json_answer(hub_schemas.FOUND, {"models": permitted})


router.include_router(_planning)
