"""What a request for a model's files says of its caller, and of the deployment that pulls them."""

from uuid import UUID

from fastapi import Request

from app.depot.pulls import Pull
from app.http.authenticator import address
from app.http.keyring import Key
from app.services.declarations import LONGEST_NAME

HEADER = "X-Depot-Deployment"
"""Names the deployment that pulls: the pull declares it."""


def pull_of(request: Request, key: Key | None, model_id: UUID) -> Pull:
    """Return the pull that a request with this key is. A name in the header that no deployment can have is ignored."""
    name = request.headers.get(HEADER, "").strip() or (key.name if key and key.auto_deployment else "")
    return Pull(
        model_id,
        key_id=key.id if key else "",
        key_name=key.name if key else None,
        deployment=name if key and name.isprintable() and 1 <= len(name) <= LONGEST_NAME else None,
        address=address(request),
        client=request.headers.get("user-agent", ""),
        request_id=request.state.request_id,
    )
