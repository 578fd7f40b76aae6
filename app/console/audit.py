"""The audit page, for operators: who changed what or was refused, from where; and who signed in. Also as CSV."""

import csv
import io
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from app.api.dependencies import Depot, TheDepot
from app.console.lists import PER_PAGE, Chip, Listing
from app.console.pages import page
from app.console.session import SessionRoute, operators_only, unlimited_only
from app.console.words import iso
from app.services import audit
from app.services.access_rows import AuditRecord
from app.services.audit import Filter

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_AT_ONCE = 500
"""Rows of the file that are in memory."""
_TITLES = ("time", "action", "resource", "resource-id", "key", "key-id", "address", "outcome")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell."""


@router.get("/console/audit")
async def list_audit(request: Request, depot: TheDepot) -> Response:
    _admit(request)
    listing, wanted = _asked(request)
    async with depot.database.read() as connection:
        counts = await audit.counts(connection, wanted)
        listing.count(counts[wanted.outcome] if wanted.outcome else sum(counts.values()))
        rows = await audit.find(connection, wanted, sort=listing.sort, limit=PER_PAGE, offset=listing.offset)
        actions = await audit.actions(connection)
    return page(
        request,
        "audit.html",
        list=listing,
        rows=rows,
        accepted=audit.ACCEPTED,
        refused=audit.REFUSED,
        chips_of_outcome=[Chip("", "all", sum(counts.values())), *(Chip(one, one, counts[one]) for one in counts)],
        actions=actions,
    )


@router.get("/console/audit.csv")
async def export(request: Request, depot: TheDepot) -> Response:
    """Send what the page's filter finds, all of it, newest first."""
    _admit(request)
    _, wanted = _asked(request)
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(_lines(depot, wanted), media_type="text/csv; charset=utf-8", headers=headers)


def _admit(request: Request) -> None:
    operators_only(request)
    unlimited_only(request)


def _asked(request: Request) -> tuple[Listing, Filter]:
    listing = Listing(request, sorts=audit.SORTS, fields={"q": None, "action": None, "outcome": audit.OUTCOMES})
    asked = listing.asked
    return listing, Filter(asked["q"], asked["action"], asked["outcome"])


async def _lines(depot: Depot, wanted: Filter) -> AsyncIterator[str]:
    yield _text([_TITLES])
    before = None
    while True:
        async with depot.database.read() as connection:
            rows = await audit.following(connection, wanted, limit=_AT_ONCE, before=before)
        yield _text([_cells(row) for row in rows])
        if len(rows) < _AT_ONCE:
            return
        before = rows[-1].id


def _cells(row: AuditRecord) -> Sequence[str]:
    resource = row.resource_id or row.other_key_id or ""
    named = (row.resource_name or "", str(resource), row.key_name or "", row.key_id, row.address, row.outcome)
    return iso(row.at), row.action, *named


def _text(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in line] for line in lines)
    return text.getvalue()
