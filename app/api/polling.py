"""Routes that clients poll: GET one model or operation by its id, without the framework's way to call an endpoint.

That way costs as much as the rest of a request. A polled route is declared like any other, and the framework handles
all but the common case, an id as the API writes it. `tests/benchmarks/api.py` measures what this saves.
"""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api.auth import KeyedRoute
from app.api.dependencies import Depot

_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POLLED = "polled_id"
"""The key in the scope of the id that a polled route was matched with."""


class PolledRoute(KeyedRoute):
    """GET of a path that ends in `/{id}`. Its endpoint takes the id and the depot."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._head = path.removesuffix("/{id}")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["method"] == "GET":
            head, _, last = scope["path"].rpartition("/")
            if head == scope.get("root_path", "") + self._head and _UUID.fullmatch(last):
                return Match.FULL, {"path_params": {"id": last}, _POLLED: UUID(last)}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _POLLED not in scope:
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive)
        depot: Depot = request.app.state.depot
        key = await depot.authenticator.admit(request)
        await self.check_limit(depot.database, key, request)
        answer = await self.endpoint(scope[_POLLED], depot)
        await answer(scope, receive, send)


def put_first(app: FastAPI) -> None:
    """Let the polled routes be looked at before all others."""
    app.router.routes.sort(key=lambda route: not isinstance(route, PolledRoute))
