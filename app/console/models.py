"""The models: all of them, searched, filtered and sorted, a page at a time."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.api.events import Seen
from app.console.live import PER_PAGE
from app.console.pages import page
from app.console.progress import IN_WORDS, show
from app.console.session import SessionRoute
from app.domain.states import ModelStatus
from app.services import catalogue, operations
from app.services.catalogue import NEWEST_FIRST, SORTS, Search

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_LONGEST_TEXT = 200


@router.get("/console")
async def list_models(request: Request, depot: TheDepot) -> Response:
    search, number = _search(request)
    async with depot.database.read() as connection:
        found, size = await catalogue.count(connection, search)
        pages = max(-(-found // PER_PAGE), 1)
        number = min(number, pages)
        first = (number - 1) * PER_PAGE
        rows = await catalogue.find(connection, search, limit=PER_PAGE, offset=first)
        newest = await operations.newest(connection, [row.id for row in rows])
        counts = await catalogue.by_status(connection)
    asked = {"q": search.text, "status": search.status or "", "sort": search.sort, "page": ""}

    def address(**other: Any) -> str:
        return "?" + urlencode({name: value for name, value in (asked | other).items() if value})

    return page(
        request,
        "models.html",
        rows=[show(row.id, Seen(row, newest.get(row.id))) for row in rows],
        search=search,
        found=found,
        size=size,
        number=number,
        pages=pages,
        first=first,
        counts=counts,
        statuses=list(ModelStatus),
        in_words=IN_WORDS,
        address=address,
    )


def _search(request: Request) -> tuple[Search, int]:
    """What the address asks for, and which page of it; what makes no sense is as if it were not there."""
    asked = request.query_params
    status, sort, number = asked.get("status", ""), asked.get("sort", ""), asked.get("page", "")
    search = Search(
        text=asked.get("q", "").strip()[:_LONGEST_TEXT].replace("\0", ""),
        status=ModelStatus(status) if status in set(ModelStatus) else None,
        sort=sort if sort in SORTS else NEWEST_FIRST,
    )
    return search, max(int(number), 1) if number.isascii() and number.isdecimal() and len(number) < 9 else 1
