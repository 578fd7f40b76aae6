"""Text that a page shows once: a new key's secret, or what became of a change. Sent sealed in a cookie, which that page
deletes.

A form is answered by a redirect, so a reload sends nothing twice, and any API process can answer the next request.
"""

from urllib.parse import quote, unquote

from fastapi import Request, Response

from app.api.dependencies import Depot
from app.console.cookies import cookie_named
from app.sealing import CannotOpen

SECRET, TOAST = "depot-once", "depot-toast"
_LASTS = 60
"""Seconds."""
_LONGEST = 1000
"""Characters: browsers take cookies of 4 KB."""


def keep_once(request: Request, response: Response, what: str, text: str) -> None:
    """Pass `text` to the next console page that this browser loads, in this session."""
    depot: Depot = request.app.state.depot
    name, attributes = cookie_named(request, what)
    sealed = depot.sealer.seal(text[:_LONGEST], belongs_to=what + request.state.session.id)
    response.set_cookie(name, quote(sealed, safe=""), max_age=_LASTS, **attributes)


def kept_once(request: Request, what: str) -> str | None:
    """Return the text kept for this page. The response must `forget` it."""
    depot: Depot = request.app.state.depot
    name, _ = cookie_named(request, what)
    try:
        return depot.sealer.open(unquote(request.cookies.get(name, "")), belongs_to=what + request.state.session.id)
    except CannotOpen:
        return None


def forget(request: Request, response: Response, what: str) -> None:
    name, attributes = cookie_named(request, what)
    response.delete_cookie(name, **attributes)
