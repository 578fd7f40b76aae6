"""Parts of a model's page that come after it: what it is, its model card, its files by name, and what arrives of it."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response

from app.api.dependencies import ResourceId, TheDepot
from app.console import about
from app.console.about import Abouts
from app.console.lists import Listing
from app.console.pages import page, root
from app.console.session import SessionRoute
from app.db.session import Reader
from app.domain.states import ModelStatus
from app.services import catalogue, history, models
from app.services.rows import ModelRecord

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_FILES_PER_PAGE = 500
LOADABLE = 5_000
"""Most files considered for what depends on their names."""
_WIDTH, _HEIGHT = 240, 40
"""Of the picture of a rate, in its own units."""


def install(app: FastAPI) -> None:
    """Keep what was read of models for the application's lifetime."""
    app.state.abouts = Abouts()


def hub_page(hub: str, name: str) -> str:
    """Return the address of a model's page on the Hub."""
    return f"{hub.rstrip('/')}/{quote(name)}"


@router.get("/console/models/{id}/about")
async def show_about(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    """Render what takes reading its files, which may be far away: that must not delay the page."""
    async with depot.database.read() as connection:
        model = await models.get(connection, model_id)
        paths = await catalogue.paths(connection, model_id, about.ENDINGS, limit=LOADABLE) if model.path else []
    abouts: Abouts = request.app.state.abouts
    hub = hub_page(depot.hub, model.name)
    told = await abouts.of(depot.volume, model, paths, hub) if model.path else None
    return page(request, "about.html", about=told, hub=hub, commit=model.commit)


@router.get("/console/models/{id}/files")
async def find_files(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    async with depot.database.read() as connection:
        model = await models.get(connection, model_id)
        listed = await files_of(request, connection, model)
    return page(request, "files.html", **listed)


async def files_of(request: Request, connection: Reader, model: ModelRecord) -> dict[str, Any]:
    """Return the list of a ready model's files, as the address asks for it. It is a part of the model's page."""
    path, sorts = f"{root(request)}/console/models/{model.id}", catalogue.FILE_SORTS
    listing = Listing(request, sorts=sorts, fields={"q": None}, anchor="all-files", path=path, per_page=_FILES_PER_PAGE)
    if model.status != ModelStatus.READY:
        return {"list": listing, "files": []}
    text = listing.asked["q"]
    listing.count(await catalogue.count_files(connection, model.id, text))
    view: dict[str, Any] = {"text": text, "sort": listing.sort, "limit": listing.per_page, "offset": listing.offset}
    return {"list": listing, "files": await catalogue.files(connection, model.id, **view)}


@router.get("/console/models/{id}/arriving")
async def show_arriving(request: Request, depot: TheDepot, model_id: ResourceId) -> Response:
    """Render the rate over time, and files of which a part is here."""
    arrival = await depot.arrivals.look(model_id)
    async with depot.database.read() as connection:
        model = await models.get(connection, model_id)
        newest = await history.of(connection, model_id, limit=1)
    is_arriving = model.status == ModelStatus.DOWNLOADING
    rates = arrival.rates if arrival else []
    return page(
        request,
        "arriving.html",
        arrival=arrival if is_arriving else None,
        elapsed=(newest[0].now - newest[0].created_at).total_seconds() if newest else 0,
        points=_points(rates),
        most=max(rates, default=0),
        span=len(rates) * arrival.every if arrival else 0,
        width=_WIDTH,
        height=_HEIGHT,
    )


def _points(rates: Sequence[int]) -> str:
    """Return the corners of the picture's line: as wide as it, and as high as the highest rate. Two make a line."""
    if len(rates) < 2:
        return ""
    most, last = max(*rates, 1), len(rates) - 1
    places = ((_WIDTH * place / last, _HEIGHT - (_HEIGHT - 2) * rate / most) for place, rate in enumerate(rates))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
