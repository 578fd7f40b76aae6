"""The routes, matched on the path as it was sent: a revision such as `refs/pr/1` comes percent-encoded, as one segment."""

import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from app.db.errors import DatabaseUnreachable
from app.http.authenticator import READS
from app.hub_api import account, descriptions, ollama, resolve, tree
from app.hub_api.calls import Call, HubApi, unavailable
from app.hub_api.errors import Code, HubError

_OTHERS = ("/ai/", "/v2/ai/", "/operation/", "/v2/operation/", "/console/", "/static-offline-docs/")
"""What the paths of the other routes with several segments begin with."""
_FOUND = "hub_api"
"""The key of the scope under which the matching route is kept."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,96}(?:/[A-Za-z0-9._-]{1,96})?")
_PLACES = {
    "R": r"(?P<name>[^/]+/[^/]+|[^/]+)",
    "REV": r"(?P<revision>refs/(?:pr|convert)/[^/]+|[^/]+)",
    "PATH": r"(?P<path>.+)",
    "TAG": r"(?P<tag>[^/]+)",
}


class _Route(NamedTuple):
    """`opened`: the function checks credentials itself, or needs none. `name` is what the metrics call it."""

    name: str
    path: re.Pattern[str]
    answer: Callable[[Call], Awaitable[Response]]
    methods: frozenset[str]
    opened: bool


def _route(
    path: str, answer: Callable[[Call], Awaitable[Response]], methods: frozenset[str] = READS, *, opened: bool = False
) -> _Route:
    pattern = re.sub("R(?:EV)?|PATH|TAG", lambda place: _PLACES[place[0]], path)
    return _Route(answer.__name__.strip("_"), re.compile(pattern), answer, methods, opened)


async def _only_models(_call: Call) -> Response:
    raise HubError("the depot keeps models only, no data sets and no spaces.", Code.REPO)


async def _nothing(_call: Call) -> Response:
    raise HubError("the depot has nothing here: it answers what clients need to find and to fetch models.")


# The first that fits answers. Where a name may have one segment or two, two are tried first.
_ROUTES = (
    _route("/api/(?:datasets|spaces)(?:/.*)?", _only_models, opened=True),
    _route("/(?:datasets|spaces)/.+/(?:resolve|raw)/.+", _only_models, opened=True),
    _route("/api/whoami-v2", account.whoami),
    _route("/api/models/?", descriptions.search),
    _route("/api/models/R/revision/REV", descriptions.model),
    _route("/api/models/R/tree/REV(?:/PATH)?", tree.tree),
    _route("/api/models/R/paths-info/REV", tree.paths_info, frozenset({"POST"})),
    _route("/api/models/R/auth-check", descriptions.auth_check),
    _route("/api/models/R/refs", descriptions.refs),
    _route("/api/models/R/commits/REV", descriptions.commits),
    _route("/api/models/R", descriptions.model),
    _route("/api(?:/.*)?", _nothing, opened=True),
    _route("/v2/R/manifests/TAG", ollama.manifest),
    _route("/v2/R/blobs/TAG", ollama.blob, opened=True),
    _route("/R/(?:resolve|raw)/REV/PATH", resolve.resolve),
)


def install(app: FastAPI) -> None:
    """Add the routes; the OpenAPI document has none of them.

    They come after all others, so that they take no path of the contract or the console. They come before them as well,
    for paths that no other route can match: to find that out costs more than the rest of a small file's request.
    """
    app.router.routes[:0] = [_HubRoutes(leaves=_OTHERS)]
    app.router.routes.append(_HubRoutes())


class _HubRoutes(BaseRoute):
    """All routes of the Hub's protocol, but for paths that begin with one of `leaves`."""

    def __init__(self, leaves: tuple[str, ...] = ()) -> None:
        self._leaves = leaves

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        raw: bytes = scope["raw_path"]
        # Latin-1 keeps each byte as it is.
        path = raw.partition(b"?")[0].decode("latin-1").removeprefix(scope.get("root_path", ""))
        if path.startswith(self._leaves):
            return Match.NONE, {}
        for route in _ROUTES:
            if found := route.path.fullmatch(path):
                return Match.FULL, {_FOUND: (route, found.groupdict())}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await _answer(Request(scope, receive))
        except HubError as error:
            response = error.answer()
        except DatabaseUnreachable as error:
            response = unavailable(f"{error} Try again in a while.").answer()
        hub: HubApi = scope["app"].state.hub_api
        hub.metrics.answered(scope[_FOUND][0].name, response.status_code)
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)


async def _answer(request: Request) -> Response:
    route, sent = request.scope[_FOUND]
    if request.method not in route.methods:
        allowed = ", ".join(sorted(route.methods))
        raise HubError(
            f"This path takes {allowed}: the depot is changed by its own API.",
            status=HTTPStatus.METHOD_NOT_ALLOWED,
            headers={"Allow": allowed},
        )
    call = Call(request.app.state.hub_api, request, None, **_decoded(sent))
    if not route.opened:
        call = await call.admitted()
    if call.name and not _NAME.fullmatch(call.name):
        raise HubError("No repository has such a name: it is owner/name.", Code.REPO)
    response: Response = await route.answer(call)
    return response


def _decoded(sent: Mapping[str, str | None]) -> dict[str, str]:
    """Return the parts of a path. Raises `HubError` for what can't name anything."""
    try:
        parts = {name: _plain(value) for name, value in sent.items() if value}
    except UnicodeDecodeError:
        parts = {"path": "\0"}
    if any("\0" in part for part in parts.values()):
        raise HubError("No file has such a name.", Code.ENTRY)
    return parts


def _plain(value: str) -> str:
    return unquote_to_bytes(value.encode("latin-1")).decode()
