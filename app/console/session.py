"""Sign-in sessions: a sealed cookie names the key and the session. Each request checks that both are valid."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fastapi import Depends, Request, Response
from starlette.exceptions import HTTPException

from app.api.auth import audited
from app.api.dependencies import Depot
from app.api.limits import check_unlimited, in_path
from app.console.cookies import cookie_named
from app.console.pages import PageRoute, sign_in_first
from app.domain.keys import Role
from app.http.authenticator import READS
from app.http.keyring import Key
from app.sealing import CannotOpen, Sealer
from app.services import audit, sessions
from app.services.audit import Act

_COOKIE = "depot-session"
_LASTS = 43_200
"""Seconds."""
_MOST_FIELDS = 100
"""A list sends one for each row that is ticked, of 50."""
_ANYBODYS = frozenset({"sign-out", "sign-out-everywhere"})
"""Actions that readers may send, too."""
_READER = "Your key may only read. Sign in with an operator's to change things."
_STRANGE = (
    "This did not come from a page of this console, or from one that is too old. Load the page again, then retry."
)

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Cookie:
    """The cookie's sealed content. `secret` is the digest of the key's secret: a new one ends the session."""

    key_id: str
    secret: str
    expires: int
    token: str


@dataclass(frozen=True, slots=True)
class Session:
    """The key that signed in, and the token that identifies its forms. `expires` is in seconds since 1970."""

    key: Key
    token: str
    expires: int

    @property
    def id(self) -> str:
        """The id in the database, a digest: useless in a cookie."""
        return _digest(self.token.encode())

    @property
    def csrf(self) -> str:
        """The CSRF token of a form: salted anew each time: the size of gzipped pages would reveal a constant one."""
        salt = secrets.token_urlsafe(9)
        return f"{salt}.{self._proof(salt)}"

    def gave(self, csrf: str) -> bool:
        """Return whether `csrf` is from a form of this session."""
        salt, _, proof = csrf.partition(".")
        return hmac.compare_digest(proof.encode(), self._proof(salt).encode())

    def _proof(self, salt: str) -> str:
        return hmac.digest(self.token.encode(), salt.encode(), "sha256").hex()

    @property
    def operator(self) -> bool:
        return self.key.role is Role.OPERATOR


class SessionRoute(PageRoute):
    """A page for signed-in users. A change needs an operator and a form of this console.

    The `operation_id` of a route that changes something is the action in the audit. `kept` names the fields of a form
    that are still there when its user had to sign in again: none that is secret.
    """

    kept: Sequence[str] = ()

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        self._check_limit = in_path(self.path)
        return super().get_route_handler()

    async def admit(self, request: Request) -> Response | None:
        depot: Depot = request.app.state.depot
        request.state.session = session = await _session_of(request, depot)
        if session is None:
            return sign_in_first(request, await self._kept(request))
        if request.method in READS:
            await self._check_limit(depot.database, session.key, request)
            return None
        request.state.form = form = await read_form(request)
        check_origin(request, depot)
        if not session.gave(form.get("csrf", "")):
            raise HTTPException(403, _STRANGE)
        action = self.operation_id or self.name
        if not session.operator and action not in _ANYBODYS:
            async with audited(request, depot, session.key, action):
                raise HTTPException(403, _READER)
        await self._check_limit(depot.database, session.key, request)
        return None

    async def _kept(self, request: Request) -> Form:
        if not self.kept:
            return {}
        form = request.query_params if request.method in READS else await read_form(request)
        return {name: form[name] for name in self.kept if form.get(name)}


async def begin(request: Request, response: Response, act: Act, key: Key) -> None:
    """Sign the holder of `key` in."""
    depot: Depot = request.app.state.depot
    session = Session(key, secrets.token_urlsafe(32), int(time.time()) + _LASTS)
    async with depot.database.begin() as connection:
        await sessions.begin(connection, session.id, key.id, lasts=_LASTS)
        await audit.record(connection, [act], audit.ACCEPTED)
    cookie = _Cookie(key.id, _digest(key.secret), session.expires, session.token)
    sealed = depot.sealer.seal(json.dumps(asdict(cookie)), belongs_to=_COOKIE)
    name, attributes = cookie_named(request, _COOKIE)
    response.set_cookie(name, quote(sealed, safe=""), max_age=_LASTS, **attributes)


async def end(request: Request, response: Response, act: Act, session: Session, *, everywhere: bool) -> None:
    """Sign out in this browser, or in all browsers signed in with the same key."""
    depot: Depot = request.app.state.depot
    async with depot.database.begin() as connection:
        if everywhere:
            await sessions.end_all(connection, session.key.id)
        else:
            await sessions.end(connection, session.id)
        await audit.record(connection, [act], audit.ACCEPTED)
    depot.sessions.forget()
    name, attributes = cookie_named(request, _COOKIE)
    response.delete_cookie(name, **attributes)


async def goes_on(depot: Depot, session: Session) -> bool:
    """Return whether the session is still valid."""
    if session.expires <= time.time():
        return False
    return await depot.authenticator.still_opens(session.key) and await depot.sessions.is_current(session.id)


def check_origin(request: Request, depot: Depot) -> None:
    """Raise `HTTPException` if the browser says that another site's page sent this.

    Other clients send no such header, and have no cookie to be misused.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = origin is None or urlsplit(origin).netloc in {request.url.netloc, urlsplit(depot.address).netloc}
    if not ours:
        raise HTTPException(403, _STRANGE)


async def read_form(request: Request) -> Form:
    """Return a form's fields; of a repeated one, the last."""
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


def unlimited_only(request: Request) -> Session:
    """Return the session of a key that is not limited to some models, for a page about all of them."""
    session: Session = request.state.session
    check_unlimited(session.key)
    return session


async def _session_of(request: Request, depot: Depot) -> Session | None:
    name, _ = cookie_named(request, _COOKIE)
    cookie = _opened(depot.sealer, request.cookies.get(name, ""))
    key = await depot.authenticator.signed_in(cookie.key_id) if cookie else None
    if cookie is None or key is None or not hmac.compare_digest(_digest(key.secret), cookie.secret):
        return None
    session = Session(key, cookie.token, cookie.expires)
    return session if await goes_on(depot, session) else None


def _opened(sealer: Sealer, text: str) -> _Cookie | None:
    try:
        return _Cookie(**json.loads(sealer.open(unquote(text), belongs_to=_COOKIE)))
    except (CannotOpen, TypeError):  # not sealed by us, or by a version with other fields
        return None


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


async def _session(request: Request) -> Session:
    session: Session = request.state.session
    return session


async def _form(request: Request) -> Form:
    form: Form = request.state.form
    return form


TheSession = Annotated[Session, Depends(_session)]
TheForm = Annotated[Form, Depends(_form)]
