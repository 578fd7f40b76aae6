"""Pages for operators that list, make and revoke API keys."""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from app.api import changes
from app.api.auth import audited
from app.api.dependencies import Depot, TheDepot
from app.console.forms import is_sure, said
from app.console.lists import PER_PAGE, Chip, Listing
from app.console.many import ask, change_each, ticked
from app.console.once import SECRET, forget, keep_once, kept_once
from app.console.pages import inside, page, see
from app.console.session import Form, SessionRoute, TheForm, TheSession, operators_only, unlimited_only
from app.console.words import ago
from app.domain.errors import BadRequest, NotFound, Refusal
from app.domain.keys import KEY_ID, LONGEST_NAME, Role, hub_token, is_name, limit_to
from app.http.errors import status_of
from app.services import keys
from app.services.keys import Search, Usability

router = APIRouter(include_in_schema=False, route_class=SessionRoute, default_response_class=Response)

_DAYS = {"7": 7, "30": 30, "90": 90, "365": 365, "": None}
"""Lifetimes that the form offers, in days."""
_DAY = 86_400.0


@router.get("/console/keys")
async def list_keys(request: Request, depot: TheDepot) -> Response:
    operators_only(request)
    unlimited_only(request)
    made = kept_once(request, SECRET)
    answer = await _list(request, depot, {}, made=made.split() if made else None)
    if made:
        forget(request, answer, SECRET)
    return answer


@router.post("/console/keys", operation_id="create-key")
async def create(request: Request, depot: TheDepot, session: TheSession, form: TheForm) -> Response:
    """Make a key. Only the page that follows shows its secret, and no browser keeps that page."""
    unlimited_only(request)
    try:
        async with audited(request, depot, session.key, "create-key") as act:
            row, secret = await changes.create_key(depot, act, **_wanted(form))
    except Refusal as refusal:
        return await _list(request, depot, form, refusal=refusal)
    answer = see(request, "/keys")
    keep_once(request, answer, SECRET, f"{row.id} {secret}")
    return answer


@router.get("/console/keys/{key}/revoke")
async def ask_to_revoke(request: Request, depot: TheDepot, key: str) -> Response:
    """Are you sure?"""
    operators_only(request)
    unlimited_only(request)
    _check(key)
    async with depot.database.read() as connection:
        row = await keys.get(connection, key)
    return page(request, "revoke.html", row=row)


@router.post("/console/keys/{key}/revoke", operation_id="revoke-key")
async def revoke(request: Request, depot: TheDepot, key: str) -> Response:
    unlimited_only(request)
    try:
        await _shut_out(request, key)
    except Refusal as refusal:
        return await _list(request, depot, {}, refusal=refusal)
    return see(request, "/keys", said="The key is revoked.")


@router.post("/console/keys/bulk", operation_id="revoke-key")
async def revoke_many(request: Request, depot: TheDepot, form: TheForm) -> Response:
    """Revoke those that are ticked, once it is sure."""
    unlimited_only(request)
    back = inside(form.get("back", "")) or "/keys"
    async with depot.database.read() as connection:
        rows = [row for row in await keys.get_many(connection, ticked(form)) if not row.revoked_at]

    if rows and not is_sure(form):
        named = [(row.id, row.name or row.id, f"last used {ago(row.last_used_at)}") for row in rows]
        notes = ["They stop working within five seconds, for good: a revoked key cannot be brought back."]
        return ask(request, "key", named, action="revoke", done="revoked", notes=notes, yes="Revoke", back=back)
    shut_out = partial(_shut_out, request)
    return see(request, back, said=await change_each([row.id for row in rows], shut_out, "key", "revoked"))


@router.get("/console/keys/bulk")
async def show(request: Request) -> Response:
    """For who is left at that address by a question."""
    return see(request, "/keys")


async def _shut_out(request: Request, key_id: str) -> None:
    """Revoke a key. Raises `Refusal`."""
    depot: Depot = request.app.state.depot
    async with audited(request, depot, request.state.session.key, "revoke-key") as act:
        _check(key_id)
        act.other_key_id = key_id
        await changes.revoke_key(depot, act, key_id)


def _check(key_id: str) -> None:
    if not KEY_ID.fullmatch(key_id):
        raise NotFound("There is no such key. The list shows those that there are.")


def _wanted(form: Form) -> dict[str, Any]:
    """Return what `keys.create` takes. Raises `BadRequest`."""
    name, role, days = form.get("name", ""), form.get("role", ""), form.get("expires", "")
    if not name or not is_name(name):
        raise BadRequest(f"Say whose key it is or what it is for, in 1 to {LONGEST_NAME} characters.", field="name")
    if role not in set(Role):
        raise BadRequest("The role is reader or operator.", field="role")
    if days not in _DAYS:
        raise BadRequest("Choose one of the times that the form offers.", field="expires")
    number = _DAYS[days]
    return {
        "name": name,
        "role": Role(role),
        "expires": None if number is None else number * _DAY,
        "limit": limit_to(form.get("models", "").split()),
        "auto_deployment": bool(form.get("auto-deployment")),
    }


async def _list(
    request: Request,
    depot: Depot,
    form: Form,
    *,
    made: Sequence[str] | None = None,
    refusal: Refusal | None = None,
) -> Response:
    fields = {"q": None, "status": tuple(Usability), "role": tuple(Role)}
    listing = Listing(request, sorts=keys.SORTS, fields=fields)
    text, status, role = listing.asked.values()
    search = Search(text, Usability(status) if status else None, Role(role) if role else None)
    async with depot.database.read() as connection:
        counts = await keys.counts(connection, text)
        listing.count(_number(counts, status, role))
        rows = await keys.page(connection, search, sort=listing.sort, limit=PER_PAGE, offset=listing.offset)
    return page(
        request,
        "keys.html",
        status=status_of(refusal) if refusal else HTTPStatus.OK,
        rows=rows,
        list=listing,
        chips_of_status=[
            Chip("", "all", _number(counts, "", role)),
            *(Chip(one, one, _number(counts, one, role)) for one in Usability),
        ],
        chips_of_role=[
            Chip("", "all", _number(counts, status, "")),
            *(Chip(one, one, _number(counts, status, one)) for one in Role),
        ],
        made=made,
        token=hub_token(*made) if made else "",
        address=depot.address,
        roles=list(Role),
        days=list(_DAYS),
        form={"name": "", "role": Role.READER, "expires": "90", "models": "", "auto-deployment": ""} | dict(form),
        refusal=said(refusal),
    )


def _number(counts: Mapping[tuple[Usability, Role], int], status: str, role: str) -> int:
    """Return how many keys are of a status and a role. Empty: any."""
    return sum(number for (one, another), number in counts.items() if status in {"", one} and role in {"", another})
