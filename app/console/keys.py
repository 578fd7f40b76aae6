"""The API keys, for operators: listed, made, revoked."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from app.api.auth import audited
from app.api.dependencies import Depot, TheDepot
from app.api.errors import status_of
from app.console.forms import said
from app.console.pages import page, see
from app.console.session import Form, SessionRoute, TheForm, TheSession, operators_only
from app.domain.errors import BadRequest, Refusal
from app.domain.keys import Role
from app.services import audit, keys

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_DAYS = {"": None, "7": 7, "30": 30, "90": 90, "365": 365}
_LONGEST_NAME = 200
_DAY = 86_400.0


@router.get("/console/keys")
async def list_keys(request: Request, depot: TheDepot) -> Response:
    operators_only(request)
    return await _list(request, depot)


@router.post("/console/keys")
async def create(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    """The secret is in this one answer, which no browser keeps, and nowhere else."""
    try:
        async with audited(request, depot, session.key, "create-key") as act:
            name, role, expires = _wanted(form)
            async with depot.database.begin() as connection:
                made = await keys.create(connection, depot.sealer, name=name, role=role, expires=expires)
                await audit.accept_for_key(connection, act, made[0])
    except Refusal as refusal:
        return await _list(request, depot, refusal=refusal)
    return await _list(request, depot, made=made)


@router.post("/console/keys/{key}/revoke")
async def revoke(request: Request, depot: TheDepot, session: TheSession, key: str) -> Response:
    try:
        async with audited(request, depot, session.key, "revoke-key") as act, depot.database.begin() as connection:
            await keys.revoke(connection, key)
            await audit.accept_for_key(connection, act, key)
    except Refusal as refusal:
        return await _list(request, depot, refusal=refusal)
    return see(request, "/keys")


def _wanted(form: Form) -> tuple[str, Role, float | None]:
    """The name, the role, and in how many seconds it expires. Raises `BadRequest`."""
    name, role, days = form.get("name", ""), form.get("role", ""), form.get("expires", "")
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRequest(f"'name' says whose key it is, in 1 to {_LONGEST_NAME} characters.", field="name")
    if role not in set(Role):
        raise BadRequest("'role' is one of reader and operator.", field="role")
    if days not in _DAYS:
        raise BadRequest("'expires' is a number of days that the form offers.", field="expires")
    number = _DAYS[days]
    return name, Role(role), None if number is None else number * _DAY


async def _list(
    request: Request, depot: Depot, *, made: tuple[str, str] | None = None, refusal: Refusal | None = None
) -> Response:
    async with depot.database.read() as connection:
        rows = await keys.list_all(connection)
    status = status_of(refusal) if refusal else HTTPStatus.OK
    return page(request, "keys.html", status=status, rows=rows, made=made, refusal=said(refusal), days=list(_DAYS))
