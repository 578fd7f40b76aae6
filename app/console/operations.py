"""The page of pending and ended operations, by state and command."""

from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from app.api.dependencies import TheDepot
from app.console.forms import an_id
from app.console.pages import page
from app.console.session import SessionRoute, TheSession
from app.domain.commands import Command
from app.domain.states import OperationState
from app.services import history

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_PER_PAGE = 50
_Word = TypeVar("_Word", bound=StrEnum)


@router.get("/console/operations")
async def list_operations(request: Request, depot: TheDepot, session: TheSession) -> Response:
    asked = request.query_params
    state, command = _one_of(OperationState, asked.get("state")), _one_of(Command, asked.get("command"))
    before = an_id(asked.get("before", ""))
    async with depot.database.read() as connection:
        rows = await history.page(
            connection,
            limit=_PER_PAGE + 1,
            state=state,
            command=command,
            before=before,
            reach=session.key.limit,
        )

    def address(**other: Any) -> str:
        chosen = {"state": state, "command": command} | other
        return "?" + urlencode({name: value for name, value in chosen.items() if value})

    return page(
        request,
        "operations.html",
        rows=rows[:_PER_PAGE],
        older=rows[_PER_PAGE - 1].id if len(rows) > _PER_PAGE else None,
        before=before,
        filters=(("State", "state", state, list(OperationState)), ("Command", "command", command, list(Command))),
        chosen=state or command,
        address=address,
    )


def _one_of(words: type[_Word], text: str | None) -> _Word | None:
    """Return `None` for invalid text."""
    return words(text) if text in set(words) else None
