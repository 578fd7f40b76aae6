"""Keeps a key that is limited to some models to them, on every route: others answer 404, as if they did not exist."""

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from fastapi import Request

from app.db.session import Database, Reader
from app.domain.errors import Forbidden, NotFound
from app.domain.keys import NameLimit
from app.http.keyring import Key
from app.services import deployments, limits, models, operations

LimitCheck = Callable[[Database, Key, Request], Awaitable[None]]
"""Raises `Refusal` for a request that the key's limit excludes."""
_Has = Callable[[Reader, NameLimit, UUID], Awaitable[bool]]
_KINDS: Mapping[str, tuple[_Has, Callable[[UUID], NotFound]]] = {
    "model": (limits.has_model, models.unknown),
    "models": (limits.has_model, models.unknown),
    "deployment": (limits.has_deployment, deployments.unknown),
    "deployments": (limits.has_deployment, deployments.unknown),
    "operation": (limits.has_operation, operations.unknown),
}
"""By the word before the id in a path: whether a limit has the resource, and the error if not."""


def in_path(path: str) -> LimitCheck:
    """Return the check of the resource in a route's path. Raises `KeyError` for a kind of resource that has none."""
    before, has_id, _ = path.partition("/{id}")
    if not has_id:
        return _nothing
    has, unknown = _KINDS[before.rpartition("/")[2]]

    async def check(database: Database, key: Key, request: Request) -> None:
        if key.limit and (resource_id := _id_of(request)):
            async with database.read() as connection:
                found = await has(connection, key.limit, resource_id)
            if not found:
                raise unknown(resource_id)

    return check


async def unlimited(_database: Database, key: Key, _request: Request) -> None:
    """Check that the key is not limited at all."""
    check_unlimited(key)


def check_unlimited(key: Key) -> None:
    """Raise `Forbidden` for a limited key, where what is asked for concerns all models."""
    if key.limit:
        raise Forbidden("This key is limited to some models, and this concerns all of them: use another key.")


def check_name(key: Key, name: str) -> None:
    """Raise `Forbidden` if the key may not have a model of that name fetched."""
    if not key.may_read(name):
        allowed = ", ".join(key.limit.patterns)
        message = f"This key is limited to {allowed}: ask whoever made it for one that opens {name!r}."
        raise Forbidden(message, field="name")


def _id_of(request: Request) -> UUID | None:
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        return None  # the route refuses it


async def _nothing(_database: Database, _key: Key, _request: Request) -> None:
    pass
