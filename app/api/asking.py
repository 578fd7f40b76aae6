"""Questions about the Hub that a caller may ask, by API or console: plans of downloads, and a search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from app.api.dependencies import Depot
from app.api.limits import check_name
from app.domain.errors import Forbidden
from app.domain.repositories import Selection
from app.http.keyring import Key

_OFF = "This server does not search the Hub (DEPOT_HUB_SEARCH): name the model exactly, 'owner/name'."


async def plan(depot: Depot, key: Key, selection: Selection, token: str | None) -> Mapping[str, Any]:
    """Return what a create would fetch. Raises `Refusal`."""
    check_name(key, selection.name)
    return await depot.lookups.plan(selection, token)


async def search(depot: Depot, key: Key, words: str, limit: int) -> Sequence[Mapping[str, Any]]:
    """Return the Hub's models that the key opens, by words in their names. Raises `Refusal`, 429 if asked too often."""
    if depot.searches is None:
        raise Forbidden(_OFF)
    if wait := depot.searches.note([key.id]):
        message = "This key searches the Hub too often: try again in some seconds."
        raise HTTPException(429, message, {"Retry-After": str(math.ceil(wait))})
    found = await depot.lookups.search(" ".join(words.split()), limit)
    return [model for model in found if key.may_read(model["name"])]
