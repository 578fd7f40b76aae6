"""What one page shows once, such as a new key's secret: it travels sealed in a cookie, which that page takes away.

A form is answered by a redirect, so that loading the page again sends nothing twice; whichever API process answers next.
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
    """Have the next page of the console that this browser loads, in this session, get `text`."""
    depot: Depot = request.app.state.depot
    name, attributes = cookie_named(request, _NAME)
    sealed = depot.sealer.seal(text, belongs_to=_NAME + session.id)
    response.set_cookie(name, quote(sealed, safe=""), max_age=_LASTS, **attributes)


def kept_once(request: Request, session: Session) -> str | None:
    """What was kept for this page. The answer must `forget` it."""
    depot: Depot = request.app.state.depot
    name, _ = cookie_named(request, _NAME)
    try:
        return depot.sealer.open(unquote(request.cookies.get(name, "")), belongs_to=_NAME + session.id)
    except CannotOpen:
        return None


def forget(request: Request, response: Response) -> None:
    name, attributes = cookie_named(request, _NAME)
    response.delete_cookie(name, **attributes)
