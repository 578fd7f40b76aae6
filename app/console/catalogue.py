"""The list of models: searched, filtered, sorted, and changed many at a time."""

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.api.events import ModelState
from app.console.lists import PER_PAGE, Chip, Listing
from app.console.pages import page
from app.console.progress import show
from app.console.session import SessionRoute, TheSession
from app.domain.states import LISTED
from app.services import catalogue, operations
from app.services.catalogue import NEWEST_FIRST, SORTS, Search

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_SORTS = (NEWEST_FIRST, *SORTS)


@router.get("/console")
async def list_models(request: Request, depot: TheDepot, session: TheSession) -> Response:
    listing = Listing(request, sorts=_SORTS, fields={"q": None, "status": LISTED})
    status = listing.asked["status"]
    search = Search(
        text=listing.asked["q"],
        status=status or None,
        sort=listing.sort,
        limit=session.key.limit,
    )
    async with depot.database.read() as connection:
        everything = await depot.figures.models.look(connection)
        totals = await catalogue.totals(connection, search.limit) if search.limit else everything
        found, size = await catalogue.count(connection, search, totals)
        listing.count(found)
        rows = await catalogue.find(connection, search, limit=PER_PAGE, offset=listing.offset)
        newest = await operations.newest(connection, [row.id for row in rows])
    return page(
        request,
        "models.html",
        rows=[show(ModelState(row, newest.get(row.id))) for row in rows],
        operator=session.operator,
        list=listing,
        size=size,
        digest=catalogue.digest(everything),
        chips_of_status=[
            Chip("", "all", sum(total.number for total in totals.values())),
            *(Chip(status, status, totals[status].number) for status in LISTED),
        ],
    )
