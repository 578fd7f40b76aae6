"""Dependencies of the routes."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Request
from starlette.exceptions import HTTPException

from app.api.events import Broadcast
from app.api.lists import Lists
from app.api.reads import Reads
from app.db.session import Database
from app.depot.arrivals import Arrivals
from app.depot.fetching import Fetching
from app.depot.figures import Figures
from app.depot.lookups import Lookups
from app.depot.metrics import ApiMetrics
from app.depot.pulls import Pulls
from app.depot.readiness import Readiness
from app.depot.sessions import Sessions
from app.depot.volume import Volume
from app.domain.errors import BadRequest, NotFound
from app.http.authenticator import Authenticator
from app.http.throttle import Throttle
from app.sealing import Sealer
from app.wakeup import Wakeup

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Depot:
    """The parts of the API process."""

    database: Database
    reads: Reads
    lists: Lists
    fetching: Fetching
    wakeup: Wakeup
    lookups: Lookups
    arrivals: Arrivals
    sealer: Sealer
    authenticator: Authenticator
    sessions: Sessions
    broadcast: Broadcast
    readiness: Readiness
    metrics: ApiMetrics
    volume: Volume
    figures: Figures
    pulls: Pulls
    plans: Throttle
    """By key."""
    searches: Throttle | None
    """By key; None: the Hub may not be searched."""
    address: str
    hub: str
    """The Hub's address, for links to it."""
    zone: str
    operation_deadline: float
    quota: int
    """Most bytes that all models may take; 0 for no limit."""
    s3_endpoint: str
    """The object store's address, if it is in none of AWS's."""


async def _depot(request: Request) -> Depot:
    depot: Depot = request.app.state.depot
    return depot


async def _resource_id(
    resource_id: Annotated[str, Path(alias="id", description="A UUID.", json_schema_extra={"format": "uuid"})],
) -> UUID:
    # Nothing has an id that is not a UUID, so it is 404 and not 400.
    if not _UUID.fullmatch(resource_id):
        raise NotFound("There is nothing with that id: an id is a UUID, as the lists show it.")
    return UUID(resource_id)


async def _json_only(request: Request) -> None:
    media_type, body = request.headers.get("content-type", "").partition(";")[0].strip().lower(), await request.body()
    if media_type != "application/json" and (media_type or body):
        raise HTTPException(415)
    try:
        # FastAPI's own parsing accepts any UTF and, for a duplicate key, takes the last value.
        json.loads(body.decode() or "null", object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        twice = key[:100].encode(errors="replace").decode()
        raise BadRequest(f"'{twice}' is there more than once: say it once.", field=twice)
    return found


TheDepot = Annotated[Depot, Depends(_depot)]
ResourceId = Annotated[UUID, Depends(_resource_id)]
JsonOnly = Depends(_json_only)
