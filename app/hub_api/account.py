"""Answers who the caller is: `hf auth login` asks before it keeps a token."""

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from app.domain.keys import identity
from app.hub_api.calls import Call
from app.hub_api.errors import HubError


async def whoami(call: Call) -> Response:
    key = call.key
    if key is None:
        raise HubError("Nobody is signed in: this depot gives models to anybody.", status=HTTPStatus.UNAUTHORIZED)
    return JSONResponse(
        {
            "type": "user",
            "id": identity(key.id).hex[:24],
            "name": key.name or key.id,
            "fullname": key.name or key.id,
            "email": None,
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": key.name or key.id, "role": "read"}},
        }
    )
