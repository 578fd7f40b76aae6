"""The operations: what is under way, and what has ended; the newest first, by state and command."""

from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.pages import page
from app.console.session import SessionRoute
from app.domain.commands import Command
from app.domain.states import OperationState
from app.services import history

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_PER_PAGE = 50


@router.get("/console/operations")
async def list_operations(request: Request, depot: TheDepot) -> Response:
    """What the address says that makes no sense is as if it were not there."""
    asked = request.query_params
    state = OperationState(asked["state"]) if asked.get("state") in set(OperationState) else None
    command = Command(asked["command"]) if asked.get("command") in set(Command) else None
    before = _id(asked.get("before", ""))
    async with depot.database.read() as connection:
        rows = await history.page(connection, state=state, command=command, before=before, limit=_PER_PAGE)
    older = {"state": state, "command": command, "before": rows[-1].id} if len(rows) == _PER_PAGE else {}
    return page(
        request,
        "operations.html",
        rows=rows,
        state=state,
        command=command,
        states=list(OperationState),
        commands=list(Command),
        before=before,
        older="?" + urlencode({name: value for name, value in older.items() if value}) if older else "",
    )


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
