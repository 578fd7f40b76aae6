"""Who is signed in: a sealed cookie names the key, and whether that may still be used is looked up each time."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fastapi import Depends, Request, Response
from starlette.exceptions import HTTPException

from app.api.dependencies import Depot
from app.api.gate import READS
from app.api.keyring import Key
from app.console.pages import PageRoute, root, sign_in_first
from app.domain.keys import Role
from app.sealing import CannotOpen, Sealer

_COOKIE = "depot-session"
_LASTS = 43_200
"""Seconds."""
_MOST_FIELDS = 50
_READER = "Your key may only read. Sign in with an operator's to change things."
_STRANGE = (
    "This did not come from a page of this console, or from one that is too old. Load the page again, then retry."
)

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Cookie:
    """What is sealed in it. `secret` is the digest of the key's: with another one, whoever had the old one is out."""

    key_id: str
    secret: str
    expires: int
    token: str


@dataclass(frozen=True, slots=True)
class Session:
    """The key of whoever is signed in, and what their forms are known by. `expires` is in seconds since 1970."""

    key: Key
    token: str
    expires: int

    @property
    def csrf(self) -> str:
        """What a form has to carry: another text each time, as how well a page packs would tell one that stays."""
        salt = secrets.token_urlsafe(9)
        return f"{salt}.{self._proof(salt)}"

    def gave(self, csrf: str) -> bool:
        """Whether that is from a form of this session."""
        salt, _, proof = csrf.partition(".")
        return hmac.compare_digest(proof.encode(), self._proof(salt).encode())

    def _proof(self, salt: str) -> str:
        return hmac.digest(self.token.encode(), salt.encode(), "sha256").hex()

    @property
    def operator(self) -> bool:
        return self.key.role is Role.OPERATOR

    @property
    def over(self) -> bool:
        return self.expires <= time.time()


class SessionRoute(PageRoute):
    """A page for whoever is signed in. What changes things takes an operator, and a form of ours."""

    async def admit(self, request: Request) -> Response | None:
        depot: Depot = request.app.state.depot
        request.state.session = session = await _session_of(request, depot)
        if session is None:
            return sign_in_first(request)
        if request.method in READS:
            return None
        request.state.form = form = await read_form(request)
        check_origin(request, depot)
        if not session.gave(form.get("csrf", "")):
            raise HTTPException(403, _STRANGE)
        if not session.operator and not self.path.endswith("/sign-out"):
            raise HTTPException(403, _READER)
        return None


def begin(request: Request, response: Response, key: Key) -> None:
    """Sign the holder of `key` in."""
    depot: Depot = request.app.state.depot
    cookie = _Cookie(key.id, _digest(key), int(time.time()) + _LASTS, secrets.token_urlsafe(16))
    sealed = depot.sealer.seal(json.dumps(asdict(cookie)), belongs_to=_COOKIE)
    response.set_cookie(_COOKIE, quote(sealed, safe=""), max_age=_LASTS, **_attributes(request))


def end(request: Request, response: Response) -> None:
    """Sign out."""
    response.delete_cookie(_COOKIE, **_attributes(request))


def check_origin(request: Request, depot: Depot) -> None:
    """Raises `HTTPException` where a browser says that another site's page sent this.

    Other clients say nothing, and have no cookie to be misused.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = origin is None or urlsplit(origin).netloc in {request.url.netloc, urlsplit(depot.address).netloc}
    if not ours:
        raise HTTPException(403, _STRANGE)


async def read_form(request: Request) -> Form:
    """The fields of a form, of which none is there twice."""
    try:
        text = (await request.body()).decode()
        return {name: value.strip() for name, value in parse_qsl(text, max_num_fields=_MOST_FIELDS)}
    except ValueError:
        raise HTTPException(400, "The form can't be read. Load the page again, then retry.") from None


def operators_only(request: Request) -> Session:
    session: Session = request.state.session
    if not session.operator:
        raise HTTPException(403, _READER)
    return session


async def _session_of(request: Request, depot: Depot) -> Session | None:
    cookie = _opened(depot.sealer, request.cookies.get(_COOKIE, ""))
    if cookie is None or cookie.expires <= time.time():
        return None
    key = await depot.gate.signed_in(cookie.key_id)
    if key is None or not hmac.compare_digest(_digest(key), cookie.secret):
        return None
    return Session(key, cookie.token, cookie.expires)


def _opened(sealer: Sealer, text: str) -> _Cookie | None:
    try:
        return _Cookie(**json.loads(sealer.open(unquote(text), belongs_to=_COOKIE)))
    except (CannotOpen, TypeError):  # not ours, or of a version that sealed something else
        return None


def _digest(key: Key) -> str:
    return hashlib.sha256(key.secret).hexdigest()


def _attributes(request: Request) -> dict[str, Any]:
    return {
        "path": root(request) or "/",
        "secure": request.url.scheme == "https",
        "httponly": True,
        "samesite": "strict",
    }


async def _session(request: Request) -> Session:
    session: Session = request.state.session
    return session


async def _form(request: Request) -> Form:
    form: Form = request.state.form
    return form


TheSession = Annotated[Session, Depends(_session)]
TheForm = Annotated[Form, Depends(_form)]
