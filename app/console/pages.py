"""Pages from templates, and the headers that restrict browsers."""

import gzip
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from starlette.exceptions import HTTPException

from app.console import once, words
from app.console.assets import Assets
from app.db.errors import DatabaseUnreachable
from app.domain.errors import Refusal
from app.http.errors import explain, status_of

_FOLDER = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Vary": "Accept-Encoding",
}
_EFFORT = 5
"""gzip level for pages: higher ones take longer and save little."""
_AGAIN = "Nothing was changed; load the page again in a while."
_LONGEST_QUERY = 4000
"""Characters: servers refuse long addresses."""
_THEMES = frozenset({"light", "dark"})


class Pages:
    """The templates and the files that they refer to."""

    def __init__(self) -> None:
        self.assets = Assets(_FOLDER / "static")
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=words.visible,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals |= {"asset": self.assets.address, "version": version("modeldepot")}
        self._templates.filters |= words.FILTERS

    def template(self, name: str) -> Template:
        return self._templates.get_template(name)


class PageRoute(APIRoute):
    """A route that reports errors as a page."""

    async def admit(self, request: Request) -> Response | None:
        """Return a response in place of the page; `None` if the caller may see it."""
        request.state.session = None
        return None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await self.admit(request) or await answer(request)
            except (Refusal, HTTPException, RequestValidationError) as error:
                return problem(request, status_of(error), said_by(error))
            except DatabaseUnreachable as error:
                return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, f"{error} {_AGAIN}")

        return handler


def install(app: FastAPI) -> None:
    """Read the templates and their files."""
    app.state.pages = Pages()


def page(request: Request, name: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Render a template with the request's session."""
    session = request.state.session
    # What htmx asks for is a part of a page, without the place for a toast.
    toast = once.kept_once(request, once.TOAST) if session and "hx-request" not in request.headers else None
    theme = request.cookies.get("depot-theme")
    shared = {"root": root(request), "session": session, "here": request.url.path, "toast": toast}
    shared["theme"] = theme if theme in _THEMES else ""
    text = request.app.state.pages.template(name).render(shared | context)
    headers, content = dict(_HEADERS), text.encode()
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"], content = "gzip", gzip.compress(content, _EFFORT, mtime=0)
    answer = HTMLResponse(content, status, headers=headers)
    if toast:
        once.forget(request, answer, once.TOAST)
    return answer


def problem(request: Request, status: HTTPStatus, message: str) -> HTMLResponse:
    """Render an error page."""
    if not hasattr(request.state, "session"):
        request.state.session = None
    return page(request, "problem.html", status=status, title=status.phrase, message=message)


def see(request: Request, path: str, *, said: str = "") -> RedirectResponse:
    """Redirect to another page of the console, which shows what was `said` of a change."""
    answer = RedirectResponse(f"{root(request)}/console{path}", HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
    if said:
        once.keep_once(request, answer, once.TOAST, said)
    return answer


def inside(address: str) -> str:
    """Return the part of an address below the console's, whatever a form says where to go on."""
    path = address.removeprefix("/console")
    return path if path != address and (not path or path[0] in "/?") else ""


def sign_in_first(request: Request, kept: Mapping[str, str]) -> Response:
    """Redirect a caller without a valid session to sign in, and then to where they are, with the fields that are `kept`."""
    if request.headers.get("accept") == "text/event-stream":
        raise HTTPException(401)
    is_fragment = "hx-request" in request.headers
    here = _page(request, is_fragment=is_fragment)
    if 0 < len(query := urlencode(kept)) <= _LONGEST_QUERY:
        here = f"{here.partition('?')[0]}?{query}"
    asked = {"next": here} if here not in {"", "/console"} else {}
    asked |= {"unsent": "yes"} if request.method != "GET" and not is_fragment else {}
    further = f"/sign-in?{urlencode(asked, safe='/', quote_via=quote)}" if asked else "/sign-in"
    if is_fragment:  # redirect the whole page
        return Response(status_code=204, headers={"HX-Redirect": f"{root(request)}/console{further}"})
    return see(request, further)


def _page(request: Request, *, is_fragment: bool) -> str:
    """Return the address, below the root, of the page that a request comes from, or is for."""
    if request.method == "GET" and not is_fragment:
        at = str(request.url)
    else:
        at = request.headers.get("hx-current-url" if is_fragment else "referer", "")
    parts = urlsplit(at or str(request.url))
    return f"{parts.path.removeprefix(root(request))}{'?' if parts.query else ''}{parts.query}"


def root(request: Request) -> str:
    """Return the path under which clients see this server."""
    path: str = request.scope["root_path"]
    return path


def said_by(error: Refusal | HTTPException | RequestValidationError) -> str:
    if isinstance(error, Refusal):
        return error.message
    return error.detail if isinstance(error, HTTPException) else explain(error.errors()[0])[0]
