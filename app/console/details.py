"""Parts of a model's page that come after it: what it is, its model card, its files by name, and what arrives of it."""

from collections.abc import Sequence
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response

from app.api.dependencies import ResourceId, TheDepot
from app.console import about
from app.console.about import Abouts
from app.console.pages import page
from app.console.session import SessionRoute
from app.domain.states import ModelStatus
from app.services import catalogue, history, models

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

MOST_FILES = 500
"""Rows on the page."""
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
async def find_files(request: Request, depot: TheDepot, model_id: ResourceId, q: str = "") -> Response:
    text = q.strip()[:200].replace("\0", "")
    async with depot.database.read() as connection:
        model = await models.get(connection, model_id)
        ready = model.status == ModelStatus.READY
        files = await catalogue.files(connection, model_id, limit=MOST_FILES + 1, text=text) if ready else []
    shown, more = files[:MOST_FILES], len(files) > MOST_FILES
    return page(request, "files.html", id=model_id, files=shown, more_files=more, text=text)


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
