"""The workers: which there are, and what each has in hand."""

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.pages import page
from app.console.session import SessionRoute

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)


@router.get("/console/workers")
async def list_workers(request: Request, depot: TheDepot) -> Response:
    async with depot.database.read() as connection:
        listed = await depot.figures.crew.look(connection)
    rates = {each.worker.name: sum(operation.rate or 0 for operation in each.holds) for each in listed}
    return page(request, "workers.html", listed=listed, rates=rates)
