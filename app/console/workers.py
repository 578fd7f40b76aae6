"""The page of workers and the operations that they hold, from which one that is gone can be dismissed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.auth import audited
from app.api.dependencies import TheDepot
from app.console.lists import PER_PAGE, Chip, Listing
from app.console.pages import inside, page, see
from app.console.session import SessionRoute, TheForm, TheSession, unlimited_only
from app.domain.commands import Command
from app.services import audit, workers
from app.services.workers import Listed, WorkerStatus

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_ORDERS: Mapping[str, Callable[[Listed], Any]] = {
    "started": lambda each: each.worker.started_at,
    "name": lambda each: (each.worker.host.lower(), each.worker.name),
    "slots": lambda each: len(each.holds),
}
_SORTS = (*_ORDERS, *(f"-{name}" for name in _ORDERS))


@router.get("/console/workers")
async def list_workers(request: Request, depot: TheDepot) -> Response:
    """Show the workers. Open pages ask for it again and again, and share one query."""
    unlimited_only(request)
    listing = Listing(request, sorts=_SORTS, fields={"status": tuple(WorkerStatus)})
    async with depot.database.read() as connection:
        listed = await depot.figures.crew.look(connection)
        census = await depot.figures.census.look(connection)
    alive = [each for each in listed if each.worker.alive]
    numbers = Counter(each.status for each in listed)
    found = [each for each in listed if listing.asked["status"] in {"", each.status}]
    listing.count(len(found))
    return page(
        request,
        "workers.html",
        list=listing,
        shown=_in_order(found, listing.sort)[listing.offset :][:PER_PAGE],
        chips_of_status=[Chip("", "all", len(listed)), *(Chip(one, one, numbers[one]) for one in WorkerStatus)],
        alive=len(alive),
        silent=numbers[WorkerStatus.SILENT],
        slots=sum(each.worker.slots for each in alive),
        busy=sum(len(each.holds) for each in alive),
        rate=sum(held.rate or 0 for each in listed for held in each.holds if held.command is Command.CREATE_MODEL),
        due=census.due,
        oldest_due=census.oldest_due,
    )


@router.post("/console/workers/dismiss", operation_id="dismiss-worker")
async def dismiss(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    """Take a worker that is gone off the list. If it comes back, it is listed again."""
    unlimited_only(request)
    name = form.get("name", "")
    async with audited(request, depot, session.key, "dismiss-worker") as act, depot.database.begin() as connection:
        await workers.dismiss(connection, name)
        await audit.accept_named(connection, act, name)
    depot.figures.crew.forget()
    return see(request, inside(form.get("back", "")) or "/workers", said=f"Worker {name} is dismissed.")


def _in_order(listed: Sequence[Listed], sort: str) -> Sequence[Listed]:
    """Sort workers, equal ones by name. The silent ones come last in any order: most of them are past."""
    rows = sorted(listed, key=_ORDERS["name"])
    rows.sort(key=_ORDERS[sort.removeprefix("-")], reverse=sort.startswith("-"))
    return sorted(rows, key=lambda each: each.status is WorkerStatus.SILENT)
