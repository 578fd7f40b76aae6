"""Questions about the Hub that a caller may ask, by API or console: plans of downloads, and a search."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from app.api import changes
from app.api.dependencies import Depot
from app.api.limits import check_name
from app.domain.errors import Forbidden, TooOften
from app.domain.repositories import Selection
from app.domain.states import ModelStatus
from app.http.keyring import Key
from app.http.throttle import Throttle
from app.services import models

_OFF = "This server does not search the Hub (DEPOT_HUB_SEARCH): name the model exactly, 'owner/name'."
_DEEP = (100, 500)
"""How many models are asked for, the first that is enough, where a key's limit leaves some of them out."""
_EARLY = 1.0
"""Seconds within which more are asked for: a search ends within 10 seconds, too."""


async def plan(depot: Depot, key: Key, selection: Selection, token: str | None) -> Mapping[str, Any]:
    """Return what a create would do, in the shape of `hub_schemas.Plan`. Raises `Refusal`."""
    check_name(key, selection.name)
    _note(depot.plans, key, "plans downloads")
    await changes.check_hub_token(depot, token)
    selection = await changes.settled(depot, selection)
    told = await depot.lookups.plan(selection, token)
    async with depot.database.read() as connection:
        standing = await models.of_selection(connection, selection.fingerprint)
        others = [] if standing else await models.of_commit(connection, told["commit"], selection)
    other = next((one for one in others if key.may_read(one.name)), None)
    own = {
        "revision": selection.revision,
        "include": selection.include,
        "exclude": selection.exclude,
        "model": standing and standing._asdict(),
        "other_name": other and other._asdict(),
    }
    is_here = standing and (standing.status, standing.commit) == (ModelStatus.READY, told["commit"])
    return {**told, **own, **(_nothing_left(told) if is_here else {})}


async def search(depot: Depot, key: Key, words: str, limit: int) -> Sequence[Mapping[str, Any]]:
    """Return the Hub's models that the key opens, by words in their names. Raises `Refusal`."""
    if depot.searches is None:
        raise Forbidden(_OFF)
    _note(depot.searches, key, "searches the Hub")
    permitted: list[Mapping[str, Any]] = []
    began = time.monotonic()
    for most in _DEEP if key.limit else (limit,):
        found = await depot.lookups.search(" ".join(words.split()), most)
        permitted = [model for model in found if key.may_read(model["name"])]
        if len(permitted) >= limit or time.monotonic() - began > _EARLY:
            break
    return permitted[:limit]


def _note(throttle: Throttle, key: Key, does: str) -> None:
    """Count a question. Raises `TooOften`."""
    if wait := throttle.note([key.id]):
        raise TooOften(f"This key {does} too often: try again in some seconds.", after=wait)


def _nothing_left(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is different in the plan of a model that is ready: nothing is fetched."""
    files = [{**file, "here": True} for file in told["files"]]
    space = told["space"] and {**told["space"], "fits": True, "lacking": 0}
    if space and space["free"] is not None:
        space["free_after"] = space["free"] - space["needed_by_others"]
    return {"bytes_here": told["bytes_total"], "bytes_to_fetch": 0, "files": files, "space": space}
