"""Pages to sign in with an API key, and out."""

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api.auth import audited
from app.api.dependencies import Depot, TheDepot
from app.console import session, sign_in_links
from app.console.cookies import is_secure
from app.console.pages import PageRoute, inside, page, see
from app.console.session import Form, SessionRoute, TheSession
from app.domain.keys import split_token
from app.http.keyring import Key
from app.services import sessions

router = APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=Response)
signed_in = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)
front_door = APIRouter(include_in_schema=False, default_response_class=Response)

_IN_ONE_PIECE = "This needs a key and its secret in one piece, with a colon between them: KEY:SECRET."
_NO_LINK = "This link was used or has expired: each is good once, for an hour. Sign in with the key."


@router.get("/console/sign-in")
async def ask(request: Request) -> Response:
    """Show the form; for a link that signs in once, with a button only: a mere look at the address uses nothing up."""
    asked = request.query_params
    return _form(request, next=asked.get("next", ""), link=asked.get("link", ""), unsent=asked.get("unsent", ""))


@router.post("/console/sign-in")
async def sign_in(request: Request, depot: TheDepot) -> Response:
    form = await session.read_form(request)
    wanted = form.get("next", "")
    try:
        session.check_origin(request, depot)
        key = await (_linked(depot, form["link"]) if form.get("link") else _proven(request, depot, form))
    except HTTPException as error:
        answer = _form(request, error.status_code, next=wanted, refusal=error.detail)
        answer.headers.update(error.headers or {})
        return answer
    # Only to a page of this console, whatever `next` says.
    answer = see(request, inside(wanted))
    async with audited(request, depot, key, "sign-in") as act:
        await session.begin(request, answer, act, key)
    return answer


@signed_in.get("/console/session")
async def show(request: Request, depot: TheDepot, who: TheSession) -> Response:
    """Who is signed in, and where else with the same key."""
    async with depot.database.read() as connection:
        count = await sessions.count(connection, who.key.id)
    return page(request, "session.html", count=count)


@signed_in.get("/console/sign-out")
@signed_in.get("/console/sign-out-everywhere")
async def back(request: Request) -> Response:
    """For who is left at that address by a form that was refused."""
    return see(request, "/session")


@signed_in.post("/console/sign-out", operation_id="sign-out")
async def sign_out(request: Request, depot: TheDepot, who: TheSession) -> Response:
    return await _out(request, depot, who, everywhere=False)


@signed_in.post("/console/sign-out-everywhere", operation_id="sign-out-everywhere")
async def sign_out_everywhere(request: Request, depot: TheDepot, who: TheSession) -> Response:
    return await _out(request, depot, who, everywhere=True)


@front_door.get("/")
async def front(request: Request) -> Response:
    """Redirect a browser to the console."""
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(404)
    return see(request, "")


def _form(request: Request, status: int = HTTPStatus.OK, **shown: str) -> Response:
    """Render the form, with the https:// address where it came by http://: browsers would drop its cookie."""
    depot: Depot = request.app.state.depot
    public = urlsplit(depot.address)
    lost = is_secure(request) and request.url.scheme != "https" and request.url.netloc != public.netloc
    elsewhere = f"{depot.address}/console" if lost else ""
    given = {"next": "", "link": "", "refusal": "", "unsent": ""} | shown
    return page(request, "sign_in.html", status=status, elsewhere=elsewhere, **given)


async def _proven(request: Request, depot: Depot, form: Form) -> Key:
    """Return the key whose secret the form holds. Raises `HTTPException`."""
    given = form.get("key", "")
    # A form of an older version, open since before it was replaced, has the secret in a field of its own.
    key_id, secret = split_token(given) or (given, form.get("secret", ""))
    try:
        return await depot.authenticator.sign_in(request, key_id, secret)
    except HTTPException as error:
        # Strangers must not fill the audit: tries without a known key, or too many tries, are only logged.
        refused = error.status_code == HTTPStatus.FORBIDDEN
        owner = await depot.authenticator.find(key_id) if refused else None
        if refused and not secret:
            error.detail = _IN_ONE_PIECE
        if owner is None:
            raise
        async with audited(request, depot, owner, "sign-in"):
            raise


async def _linked(depot: Depot, text: str) -> Key:
    """Return the key of a link, and use the link up. Raises `HTTPException`."""
    link = sign_in_links.opened(depot.sealer, text)
    key = await depot.authenticator.signed_in(link.key_id) if link else None
    if link is None or key is None:
        raise HTTPException(403, _NO_LINK)
    async with depot.database.begin() as connection:
        if not await sign_in_links.use(connection, link):
            raise HTTPException(403, _NO_LINK)
    return key


async def _out(request: Request, depot: Depot, who: session.Session, *, everywhere: bool) -> Response:
    answer = see(request, "/sign-in")
    async with audited(request, depot, who.key, "sign-out-everywhere" if everywhere else "sign-out") as act:
        await session.end(request, answer, act, who, everywhere=everywhere)
    return answer
