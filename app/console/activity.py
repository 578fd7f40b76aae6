"""The page of what goes on, what needs attention and what is done, with figures of the last day or month."""

from dataclasses import dataclass
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
from app.services.rows import HistoryRecord, UnderWay

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_NOW, _FAILED = 50, 20
"""Most rows of each."""
_ENDED = (OperationState.SUCCESS, OperationState.FAILURE, OperationState.TIMEOUT)
_SORTS = ("-created", "created")
_SPANS = {"24h": charts.DAY, "30d": charts.MONTH}


@dataclass(frozen=True, slots=True)
class Done:
    """An ended operation with its figures: seconds, bytes fetched, bytes per second."""

    row: HistoryRecord
    took: float
    fetched: int | None
    rate: float | None


@router.get("/console/activity")
async def show_activity(request: Request, depot: TheDepot, session: TheSession) -> Response:
    fields = {"state": _ENDED, "command": tuple(Command), "span": ("30d",)}
    listing = Listing(request, sorts=_SORTS, fields=fields)
    state, command = listing.asked["state"], listing.asked["command"]
    before = an_id(listing.before)
    async with depot.database.read() as connection:
        rows = await history.page(
            connection,
            limit=PER_PAGE + 1,
            state=OperationState(state) if state else None,
            command=Command(command) if command else None,
            before=before,
            reach=session.key.limit,
            ended=True,
            oldest=listing.sort == "created",
        )
    return page(
        request,
        "activity.html",
        list=listing,
        done=[_done(row) for row in rows[:PER_PAGE]],
        older=rows[PER_PAGE - 1].id if len(rows) > PER_PAGE else None,
        before=before,
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
        "failed": [row for row in failed if not row.deleting],
        "failures": max(totals[ModelStatus.ERROR].number, len(failed)),
        "missed": [each.worker for each in crew if each.missed],
        "nobody": not reach and not any(each.worker.alive for each in crew),
    }


async def _chips(depot: Depot, session: Session, listing: Listing) -> dict[str, Any]:
    """Return the filters, with counts for a key that all operations are for."""
    by: dict[tuple[Command, OperationState], int] | None = None
    if not session.key.limit:
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


def _done(row: HistoryRecord) -> Done:
    ended = row.ended_at or row.now
    fetched = row.to_fetch if row.state is OperationState.SUCCESS else None
    arriving = (ended - row.begun_at).total_seconds() if row.begun_at else 0.0
    return Done(
        row=row,
        took=(ended - row.created_at).total_seconds(),
        fetched=fetched,
        rate=fetched / arriving if fetched and arriving > 0 else None,
    )
