"""Text that a page shows once, such as a new key's secret: sent sealed in a cookie, which that page deletes.

A form is answered by a redirect, so a reload sends nothing twice, and any API process can answer the next request.
"""

from urllib.parse import quote, unquote

from fastapi import Request, Response

from app.api.dependencies import Depot
from app.console.session import Session, cookie_named
from app.sealing import CannotOpen

_NAME = "depot-once"
_LASTS = 60
"""Seconds."""


def keep_once(request: Request, response: Response, session: Session, text: str) -> None:
    """Pass `text` to the next console page that this browser loads, in this session."""
    depot: Depot = request.app.state.depot
    name, attributes = cookie_named(request, _NAME)
    sealed = depot.sealer.seal(text, belongs_to=_NAME + session.id)
    response.set_cookie(name, quote(sealed, safe=""), max_age=_LASTS, **attributes)


def kept_once(request: Request, session: Session) -> str | None:
    """Return the text kept for this page. The response must `forget` it."""
    depot: Depot = request.app.state.depot
    name, _ = cookie_named(request, _NAME)
    try:
        return depot.sealer.open(unquote(request.cookies.get(name, "")), belongs_to=_NAME + session.id)
    except CannotOpen:
        return None


def forget(request: Request, response: Response) -> None:
    name, attributes = cookie_named(request, _NAME)
    response.delete_cookie(name, **attributes)
