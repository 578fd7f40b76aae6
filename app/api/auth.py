"""Authentication: routes that require a key, and the audit of the changes made with it.

A route checks the key before it reads anything else of the request, so that a stranger learns nothing from a body's
errors.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.api.dependencies import Depot
from app.api.limits import LimitCheck, in_path, unlimited
from app.db.errors import DatabaseUnreachable
from app.domain.errors import Refusal
from app.domain.keys import KEY_ID, Role
from app.http.authenticator import READS, address
from app.http.errors import documented, status_of
from app.http.keyring import Key
from app.services import audit
from app.services.audit import Act

_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key's id and secret: `<key>:<secret>`."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "What the SDKs send: `EXO2-HMAC-SHA256 credential=…,expires=…,signature=…`.",
    },
}
_EITHER: dict[str, Any] = {"security": [{name: []} for name in _SCHEMES]}

_READER = "This key may only read. `modeldepot key create --role operator` makes one that may do everything."

log = structlog.get_logger()


class KeyedRoute(APIRoute):
    """A route that requires a key, and an operator's key unless it only reads.

    To a key that is limited to some models, others do not exist.
    """

    readers_may_look = True
    changes = True
    """Whether its methods other than GET change something, which is audited."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["responses"] = documented(401, 403, 429) | (options.get("responses") or {})
        options["openapi_extra"] = _EITHER | (options.get("openapi_extra") or {})
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer, action = super().get_route_handler(), self.operation_id or self.name
        check_limit = self.check_limit = self.limit_check()

        async def handler(request: Request) -> Response:
            depot: Depot = request.app.state.depot
            key = request.state.key = await depot.authenticator.admit(request)
            if request.method in READS or not self.changes:
                if key.role is Role.READER and not self.readers_may_look:
                    raise HTTPException(403, _READER)
                await check_limit(depot.database, key, request)
                return await answer(request)
            async with audited(request, depot, key, action) as act:
                if key.role is Role.READER:
                    raise HTTPException(403, _READER)
                await check_limit(depot.database, key, request)
                request.state.act = act
                return await answer(request)

        return handler

    def limit_check(self) -> LimitCheck:
        return in_path(self.path)


class OperatorsRoute(KeyedRoute):
    """A route that always requires an operator's key, and one that is not limited to some models."""

    readers_may_look = False

    def limit_check(self) -> LimitCheck:
        return unlimited


class PlanningRoute(KeyedRoute):
    """A route that tells what a change would do: for whom may make it. Nothing is audited."""

    readers_may_look = False
    changes = False


@asynccontextmanager
async def audited(request: Request, depot: Depot, key: Key, action: str) -> AsyncIterator[Act]:
    """Wrap one change: its code records an acceptance, this function a refusal."""
    act = Act(key.id, action, address(request), request.state.request_id, _resource(request), key_name=key.name)
    if KEY_ID.fullmatch(other := request.path_params.get("key", "")):
        act.other_key_id = other
    try:
        yield act
    except (Refusal, HTTPException, RequestValidationError) as error:
        await _record_refusal(depot, act, status_of(error))
        raise
    _log(act, audit.ACCEPTED)


def describe(app: FastAPI) -> None:
    """Describe in the OpenAPI document how to send a key."""
    document_of = app.openapi

    def openapi() -> dict[str, Any]:
        document = document_of()
        document.setdefault("components", {})["securitySchemes"] = _SCHEMES
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


async def _key(request: Request) -> Key:
    key: Key = request.state.key
    return key


async def _act(request: Request) -> Act:
    act: Act = request.state.act
    return act


def _resource(request: Request) -> UUID | None:
    try:
        return UUID(request.path_params["id"])
    except (KeyError, ValueError):
        return None


async def _record_refusal(depot: Depot, act: Act, status: HTTPStatus) -> None:
    outcome = f"{status.value} {status.phrase}"
    _log(act, outcome)
    try:
        async with depot.database.begin() as connection:
            await audit.refuse(connection, act, outcome)
    except DatabaseUnreachable as error:
        log.warning("the audit of a refusal is in this log only", reason=str(error), error=error.cause)


def _log(act: Act, outcome: str) -> None:
    log.info(
        "audit",
        key=act.key_id,
        action=act.action,
        resource=str(act.resource_id or act.other_key_id or "-"),
        address=act.address,
        outcome=outcome,
        key_name=act.key_name,
        resource_name=act.resource_name,
    )


TheKey = Annotated[Key, Depends(_key)]
TheAct = Annotated[Act, Depends(_act)]
