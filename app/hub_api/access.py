"""Who may use these routes. The only place that asks for credentials, or looks at what they open."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.http.authenticator import Authenticator
from app.http.keyring import Key
from app.hub_api.errors import HubError


async def admit(authenticator: Authenticator, request: Request) -> Key | None:
    """Return the caller's key; None for an anonymous caller who may pull. Raises `HubError`, with 401 only."""
    try:
        return await authenticator.admit_pull(request)
    except HTTPException as error:
        raise HubError(error.detail, status=HTTPStatus.UNAUTHORIZED, headers=error.headers) from None
