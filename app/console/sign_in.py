"""Signing in with an API key, and out."""

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.api.dependencies import TheDepot
from app.console import session
from app.console.pages import PageRoute, page, see
from app.console.session import SessionRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=Response)
signed_in = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)
front_door = APIRouter(include_in_schema=False, default_response_class=Response)


@router.get("/console/sign-in")
async def ask(request: Request) -> Response:
    return page(request, "sign_in.html", next=request.query_params.get("next", ""), key="", refusal="")


@router.post("/console/sign-in")
async def sign_in(request: Request, depot: TheDepot) -> Response:
    form = await session.read_form(request)
    wanted = form.get("next", "")
    try:
        session.check_origin(request, depot)
        key = await depot.gate.sign_in(request, form.get("key", ""), form.get("secret", ""))
    except HTTPException as error:
        shown = {"next": wanted, "key": form.get("key", ""), "refusal": error.detail}
        answer: Response = page(request, "sign_in.html", status=error.status_code, **shown)
        answer.headers.update(error.headers or {})
        return answer
    # Only to a page of ours, whatever the form was made to say.
    answer = see(request, wanted.removeprefix("/console") if wanted.startswith("/console/") else "")
    session.begin(request, answer, key)
    return answer


@signed_in.post("/console/sign-out")
async def sign_out(request: Request) -> Response:
    answer = see(request, "/sign-in")
    session.end(request, answer)
    return answer


@front_door.get("/")
async def front(request: Request) -> Response:
    """A browser is shown the console."""
    if "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(404)
    return see(request, "")
