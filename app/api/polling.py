"""Fast path for polling: GET one model or operation by id, without the framework's routing.

That routing costs as much as the rest of a request. These routes answer the same as the framework's routes of the same
paths, which the OpenAPI document describes and which handle all but the common case.
"""

import re
from collections.abc import Awaitable, Callable
from uuid import UUID

from fastapi import FastAPI, Request
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from app.api.answers import json_bytes
from app.api.dependencies import Depot
from app.api.reads import Reads

_PATHS = {"/ai/model/": Reads.model, "/operation/": Reads.operation}
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def install(app: FastAPI) -> None:
    """Add these routes before all others."""
    app.router.routes[:0] = [_Polled(app.root_path, path, look) for path, look in _PATHS.items()]


class _Polled(BaseRoute):
    """GET of one resource by its id."""

    def __init__(self, prefix: str, path: str, look: Callable[[Reads, UUID], Awaitable[bytes]]) -> None:
        self._look = look
        self._matches = re.compile(f"{re.escape(prefix)}(?:/v2)?{path}({_UUID})").fullmatch

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found = scope["type"] == "http" and scope["method"] == "GET" and self._matches(scope["path"])
        return (Match.FULL, {"path_params": {"id": found[1]}}) if found else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        depot: Depot = request.app.state.depot
        await depot.authenticator.admit(request)
        found = await self._look(depot.reads, UUID(scope["path_params"]["id"]))
        await json_bytes(found)(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)
