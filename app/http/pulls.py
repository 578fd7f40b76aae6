"""What a request for a model's files says of the deployment that pulls them."""

from uuid import UUID

from fastapi import Request

from app.depot.sightings import Pull
from app.http.authenticator import address
from app.http.keyring import Key
from app.services.declarations import LONGEST_NAME

HEADER = "X-Depot-Deployment"
"""Names the deployment that pulls: the pull declares it."""


def pull_of(request: Request, key: Key, model_id: UUID) -> Pull:
    """Return the pull that a request with this key is. A name in the header that no deployment can have is ignored."""
    name = request.headers.get(HEADER, "").strip() or (key.name if key.auto_deployment else "")
    declares = name if name.isprintable() and 1 <= len(name) <= LONGEST_NAME else None
    return Pull(model_id, key.id, key.name, declares, address(request), request.state.request_id)
