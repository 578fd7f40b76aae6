"""Who may use these routes. The only place that asks for credentials, or looks at what they open."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.http.authenticator import Authenticator
from app.http.keyring import Key
from app.hub_api.errors import HubError

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="modeldepot"'}
_HOW = "Set HF_TOKEN to <key>:<secret>; `modeldepot key create --role reader` makes a key."


async def admit(authenticator: Authenticator, request: Request) -> Key:
    """Return the caller's key. Raises `HubError`: 401 for whatever is wrong, as clients hide what 403 and 429 say."""
    try:
        return await authenticator.admit(request)
    except HTTPException as error:
        message = f"{error.detail} {_HOW}"
        raise HubError(message, status=HTTPStatus.UNAUTHORIZED, headers=_CHALLENGE) from None
