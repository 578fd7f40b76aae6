"""The depot's own API keys, in the hosted API's shapes: each has a UUID, and a new one its credential as `value`."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field, StrictBool, TypeAdapter

from app.api import changes
from app.api.answers import body, json_answer, operation_answer
from app.api.auth import OperatorsRoute, TheAct
from app.api.bodies import Body
from app.api.dependencies import JsonOnly, ResourceId, TheDepot
from app.api.lists import Listed
from app.api.schemas import Operation
from app.api.values import Text, Time
from app.domain.keys import LONGEST_NAME, NameLimit, Role, hub_token, identity, limit_to
from app.http.errors import documented
from app.http.wire import Wire
from app.services import keys, lists
from app.services.access_rows import KeyRecord

router = APIRouter(tags=["keys"], route_class=OperatorsRoute)

_NO_ORGANISATION = UUID(int=0)
Scope = Annotated[Literal["public"], Field(description="A key opens all of this depot, so there is no other scope.")]


class CreateKey(Body):
    """Who is to have a key, and for what."""

    name: Annotated[Text, Field(max_length=LONGEST_NAME)]
    scope: Annotated[Scope, Field("public")]
    role: Annotated[Role, Field(Role.READER, description="A reader may only look; an operator may do everything.")]
    models: Annotated[
        list[str] | None,
        Field(
            None,
            description="Names and glob patterns of `owner/name`, such as `meta-llama/*`: to the key, other models do not "
            "exist. Default: all models.",
        ),
    ]
    auto_deployment: Annotated[
        StrictBool,
        Field(False, description="Whether pulling a model with the key declares a deployment of the key's name."),
    ]


class ApiKey(Wire):
    """A key, without its secret."""

    id: UUID
    name: str
    scope: Scope
    org_uuid: Annotated[UUID, Field(description="Of nobody: a depot has no organisations.")]
    created_at: Time
    updated_at: Time
    key: Annotated[str, Field(description="What it is called here, and in signatures.")]
    role: Role
    models: Annotated[list[str], Field(description="What it is limited to; empty if to nothing.")]
    auto_deployment: bool


class NewApiKey(ApiKey):
    """A key with its secret, which is shown this once."""

    hub_token: Annotated[
        str, Field(description="The same as `value`, in the form of the Hub's tokens: for `HF_TOKEN`.")
    ]
    value: Annotated[str, Field(description="`<key>:<secret>`: what goes behind `Authorization: Bearer`.")]


class ApiKeyList(Wire):
    ai_api_keys: list[ApiKey]


_KEY, _NEW, _KEYS = TypeAdapter(ApiKey), TypeAdapter(NewApiKey), TypeAdapter(list[ApiKey])


@router.get(
    "/ai/api-key",
    operation_id="list-ai-api-keys",
    summary="List the API keys",
    response_class=Response,
    responses={200: {"model": ApiKeyList}, **documented(503)},
)
async def list_keys(depot: TheDepot) -> Response:
    """Every key that is not revoked, oldest first; for operators."""
    return await depot.lists.of(_LISTED)


@router.get(
    "/ai/api-key/{id}",
    operation_id="get-ai-api-key",
    summary="Look at an API key",
    response_class=Response,
    responses={200: {"model": ApiKey}, **documented(404, 503)},
)
async def get_key(identifier: ResourceId, depot: TheDepot) -> Response:
    """For operators."""
    async with depot.database.read() as connection:
        row = await keys.identified(connection, identifier)
    return json_answer(_KEY, _shown(row))


@router.post(
    "/ai/api-key",
    operation_id="create-ai-api-key",
    summary="Make an API key",
    dependencies=[JsonOnly],
    response_class=Response,
    responses={200: {"model": NewApiKey}, **documented(400, 413, 415, 503)},
)
async def create_key(body: CreateKey, depot: TheDepot, act: TheAct) -> Response:
    """The secret is in this answer and nowhere else."""  # noqa: D401  # the document shows it
    row, secret = await changes.create_key(
        depot,
        act,
        name=body.name,
        role=body.role,
        expires=None,
        limit=limit_to(body.models or ()),
        auto_deployment=body.auto_deployment,
    )
    spelled = {"value": f"{row.id}:{secret}", "hub-token": hub_token(row.id, secret)}
    answer = json_answer(_NEW, _shown(row) | spelled)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.delete(
    "/ai/api-key/{id}",
    operation_id="delete-ai-api-key",
    summary="Revoke an API key",
    response_class=Response,
    responses={200: {"model": Operation}, **documented(404, 409, 503)},
)
async def delete_key(identifier: ResourceId, depot: TheDepot, act: TheAct) -> Response:
    """It opens nothing from now on. Refused for the key that asks."""  # noqa: D401  # the document shows it
    return operation_answer(await changes.delete_key(depot, act, identifier))


def _shown(row: KeyRecord) -> dict[str, Any]:
    """Return a key as a client sees it. It never changes, so it was updated when it was created."""
    return {
        "id": identity(row.id),
        "name": row.name,
        "scope": "public",
        "org-uuid": _NO_ORGANISATION,
        "created-at": row.created_at,
        "updated-at": row.created_at,
        "key": row.id,
        "role": row.role,
        "models": NameLimit.from_text(row.models).patterns,
        "auto-deployment": row.auto_deployment,
    }


_LISTED = Listed("ai-api-keys", lists.keys, lambda rows: body(_KEYS, [_shown(row) for row in rows]))
