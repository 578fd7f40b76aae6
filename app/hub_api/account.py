"""Answers who the caller is: `hf auth login` asks before it keeps a token."""

from starlette.responses import JSONResponse, Response

from app.domain.keys import identity
from app.hub_api.calls import Call


async def whoami(call: Call) -> Response:
    key = await call.admit()
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
