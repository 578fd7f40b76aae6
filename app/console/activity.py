"""The page of what goes on, what needs attention and what is done, with figures of the last day or month."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.dependencies import Depot, TheDepot
from app.console import charts
from app.console.forms import an_id
from app.console.lists import PER_PAGE, Chip, Listing
from app.console.pages import page, see
from app.console.session import Session, SessionRoute, TheSession
from app.console.words import command as in_words
from app.domain.commands import Command
from app.domain.states import ModelStatus, OperationState
from app.services import catalogue, history, samples
from app.services.catalogue import Search
from app.services.rows import UnderWay

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_NOW, _FAILED = 50, 20
"""Most rows of each."""
_ENDED = (OperationState.SUCCESS, OperationState.FAILURE, OperationState.TIMEOUT)
_BY_TIME = ("-created", "created")
_SPANS = {"24h": charts.DAY, "30d": charts.MONTH}


@router.get("/console/activity")
async def show_activity(request: Request, depot: TheDepot, session: TheSession) -> Response:
    fields = {"state": _ENDED, "command": tuple(Command), "span": ("30d",), "of": None}
    listing = Listing(request, sorts=history.SORTS, fields=fields, anchor="done")
    listing.asked["of"] = str(an_id(listing.asked["of"]) or "")
    return page(
        request,
        "activity.html",
        list=listing,
        **await _past(depot, session, listing),
        **await _chips(depot, session, listing),
        **await _charts(depot, session, listing),
        **await _current(depot, session),
    )


@router.get("/console/activity/now")
async def show_now(request: Request, depot: TheDepot, session: TheSession) -> Response:
    """Only the parts of the page that change by themselves."""
    return page(request, "activity_now.html", **await _current(depot, session))


@router.get("/console/operations")
async def moved(request: Request) -> Response:
    """For who kept the address of an older version."""
    return see(request, "/activity")


async def _current(depot: Depot, session: Session) -> dict[str, Any]:
    reach = session.key.limit
    async with depot.database.read() as connection:
        now = await history.under_way(connection, limit=_NOW + 1, reach=reach)
        failed = await catalogue.find(
            connection, Search(status=ModelStatus.ERROR, limit=reach), limit=_FAILED, offset=0
        )
        totals = await (catalogue.totals(connection, reach) if reach else depot.figures.models.look(connection))
        crew = [] if reach else await depot.figures.crew.look(connection)
    return {
        "now": now[:_NOW],
        "more": len(now) > _NOW,
        "arriving": sum(row.rate or 0 for row in now if _is_held(row)),
        "held": sum(map(_is_held, now)),
        "failed": failed,
        "failures": max(totals[ModelStatus.ERROR].number, len(failed)),
        "missed": [each.worker for each in crew if each.missed],
        "nobody": not reach and not any(each.worker.alive for each in crew),
    }


async def _past(depot: Depot, session: Session, listing: Listing) -> dict[str, Any]:
    """Return one page of what is done: by time it begins after an operation, by a figure or of a model it has a number."""
    state, command, of = listing.asked["state"], listing.asked["command"], an_id(listing.asked["of"])
    search = history.Search(
        OperationState(state) if state else None, Command(command) if command else None, session.key.limit, of
    )
    by_time = listing.sort in _BY_TIME and not of
    before = an_id(listing.before) if by_time else None
    async with depot.database.read() as connection:
        if by_time:
            rows = await history.page(
                connection,
                limit=PER_PAGE + 1,
                state=search.state,
                command=search.command,
                before=before,
                reach=search.reach,
                ended=True,
                oldest=listing.sort == "created",
            )
        else:
            listing.count(await history.count(connection, search))
            rows = await history.find(connection, search, sort=listing.sort, limit=PER_PAGE, offset=listing.offset)
    older = rows[PER_PAGE - 1].id if len(rows) > PER_PAGE else None
    subject = (rows[0].subject if rows else None) or listing.asked["of"]
    of_chips = [Chip("", "all"), Chip(listing.asked["of"], subject)] if of else []
    return {"done": rows[:PER_PAGE], "older": older, "before": before, "of": of_chips}


async def _chips(depot: Depot, session: Session, listing: Listing) -> dict[str, Any]:
    """Return the filters, with counts of all operations, for a key that these are for."""
    by: dict[tuple[Command, OperationState], int] | None = None
    if not session.key.limit and not listing.asked["of"]:
        async with depot.database.read() as connection:
            census = await depot.figures.census.look(connection)
        by = {pair: number for pair, number in census.by.items() if pair[1] in _ENDED}

    def count(**wanted: str) -> int | None:
        if by is None:
            return None
        return sum(
            number
            for (command, state), number in by.items()
            if wanted.get("command") in {None, "", command} and wanted.get("state") in {None, "", state}
        )

    state, command = listing.asked["state"], listing.asked["command"]
    return {
        "states": [
            Chip("", "all", count(command=command)),
            *(Chip(one, one, count(command=command, state=one)) for one in _ENDED),
        ],
        "commands": [
            Chip("", "all", count(state=state)),
            *(Chip(one, in_words(one), count(command=one, state=state)) for one in Command),
        ],
    }


async def _charts(depot: Depot, session: Session, listing: Listing) -> dict[str, Any]:
    """Return the pictures; none for a key that is limited to some models: they are of all."""
    if session.key.limit:
        return {"throughput": None, "disk": None}
    span = _SPANS[listing.asked["span"] or "24h"]
    async with depot.database.read() as connection:
        now, rows = await samples.since(connection, span.seconds)
    return {"throughput": charts.throughput(rows, now, span), "disk": charts.disk(rows, now, span)}


def _is_held(row: UnderWay) -> bool:
    return bool(row.lease_owner and row.later)
