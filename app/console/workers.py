"""The page of workers and the operations that they hold."""

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.pages import page
from app.console.session import SessionRoute, unlimited_only
from app.domain.commands import Command

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)


@router.get("/console/workers")
async def list_workers(request: Request, depot: TheDepot) -> Response:
    """Show the workers. Open pages ask for it again and again, and share one query."""
    unlimited_only(request)
    async with depot.database.read() as connection:
        listed = await depot.figures.crew.look(connection)
        census = await depot.figures.census.look(connection)
    alive = [each for each in listed if each.worker.alive]
    return page(
        request,
        "workers.html",
        listed=sorted(listed, key=lambda each: not each.worker.alive),
        alive=len(alive),
        slots=sum(each.worker.slots for each in alive),
        busy=sum(len(each.holds) for each in alive),
        rate=sum(held.rate or 0 for each in listed for held in each.holds if held.command is Command.CREATE_MODEL),
        due=census.due,
        oldest_due=census.oldest_due,
    )
