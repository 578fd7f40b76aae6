"""The audit page, for operators: who changed what or was refused, from where; and who signed in."""

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.forms import an_id
from app.console.pages import page
from app.console.session import SessionRoute, operators_only, unlimited_only
from app.services import audit

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_PER_PAGE = 50


@router.get("/console/audit")
async def list_audit(request: Request, depot: TheDepot) -> Response:
    operators_only(request)
    unlimited_only(request)
    before = an_id(request.query_params.get("before", ""))
    async with depot.database.read() as connection:
        rows = await audit.page(connection, limit=_PER_PAGE + 1, before=before)
    older = rows[_PER_PAGE - 1].id if len(rows) > _PER_PAGE else None
    return page(request, "audit.html", rows=rows[:_PER_PAGE], older=older, before=before, accepted=audit.ACCEPTED)
