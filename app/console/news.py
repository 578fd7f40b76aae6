"""Downloads that ended, for pages that a browser may notify of."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from app.api.dependencies import TheDepot
from app.console.pages import root
from app.console.session import SessionRoute, TheSession
from app.console.words import visible
from app.services import history

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_MOST = 20
TheMoment = Annotated[float | None, Query(ge=0, le=1e10, allow_inf_nan=False)]
"""Seconds since 1970."""


@router.get("/console/news")
async def tell(request: Request, depot: TheDepot, session: TheSession, since: TheMoment = None) -> Response:
    """Return what ended after `since`, and the value of it for the next request. Without it, only that value."""
    async with depot.database.read() as connection:
        if since is None:
            moment, rows = await history.clock(connection), []
        else:
            moment = datetime.fromtimestamp(since, UTC)
            rows = [*await history.finished_downloads(connection, moment, limit=_MOST, reach=session.key.limit)]
    news = [
        {
            "id": str(row.id),
            "name": row.name,
            "state": row.state,
            "message": visible(row.message or ""),
            "address": f"{root(request)}/console/models/{row.resource_id}",
        }
        for row in rows
    ]
    seen = rows[-1].ended_at if rows else moment
    return JSONResponse({"since": seen.timestamp(), "news": news}, headers={"Cache-Control": "no-store"})
