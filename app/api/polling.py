"""Routes that clients poll: GET one model or operation by its id, without the framework's routing.

That routing costs as much as the rest of a request. A polled route is declared like any other, and the framework still
handles all but the common case, an id as the API writes it.
"""

import re
from collections.abc import Awaitable, Callable
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from app.api.auth import KeyedRoute
from app.api.dependencies import Depot
from app.api.limits import LimitCheck

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class PolledRoute(KeyedRoute):
    """GET of a path that ends in `/{id}`. Its endpoint takes the id and the depot."""


def install(app: FastAPI, prefix: str) -> None:
    """Put a shortcut to each polled route before all routes: below a router, the framework routes twice."""
    app.router.routes[:0] = [
        Shortcut(prefix, context.path, context.endpoint, context.original_route.check_limit)
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, PolledRoute) and context.path and context.endpoint
    ]


class Shortcut(BaseRoute):
    """The common case of a polled route. Without it a poll takes 1.7 times the CPU: see `tests/benchmarks/api.py`."""

    def __init__(
        self,
        prefix: str,
        path: str,
        endpoint: Callable[[UUID, Depot], Awaitable[Response]],
        check_limit: LimitCheck,
    ) -> None:
        self._endpoint, self._check_limit = endpoint, check_limit
        self._matches = re.compile(f"{re.escape(prefix + path.removesuffix('{id}'))}({_UUID})").fullmatch

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found = scope["type"] == "http" and scope["method"] == "GET" and self._matches(scope["path"])
        return (Match.FULL, {"path_params": {"id": found[1]}}) if found else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        depot: Depot = request.app.state.depot
        key = await depot.authenticator.admit(request)
        await self._check_limit(depot.database, key, request)
        answer = await self._endpoint(UUID(scope["path_params"]["id"]), depot)
        await answer(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)
