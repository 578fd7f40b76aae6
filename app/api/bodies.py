"""The bodies of requests, named as in the contract: kebab-case keys, ids as UUIDs, sizes in bytes."""

import difflib
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from app.api.values import (
    Count,
    CountFromZero,
    DeploymentName,
    Parameters,
    Priority,
    Text,
    Token,
)
from app.domain.errors import BadRequest
from app.domain.repositories import NAME_PATTERN
from app.http.wire import kebab


def _none_if_empty(text: Any) -> Any:
    return text or None if isinstance(text, str) else text


class Body(BaseModel):
    """A request. A key that is not known is refused by name: ignored, a misspelt token is a failed download later."""

    model_config = ConfigDict(alias_generator=kebab, protected_namespaces=(), extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data if isinstance(data, dict) else ():
            if key not in known:
                shown = str(key)[:100].encode(errors="replace").decode()
                raise BadRequest(_unknown_key(shown, known), field=shown)
        return data


HubToken = Annotated[
    Token | None,
    BeforeValidator(_none_if_empty),
    Field(None, description="A Hub token that may read the repository. Write-only; wiped when the operation ends."),
]


class CreateModel(Body):
    """Which files of which Hub repository to fetch."""

    name: Annotated[
        str,
        Field(
            description="The exact Hub repository, `owner/name`; case matters.",
            json_schema_extra={"pattern": NAME_PATTERN},
        ),
    ]
    huggingface_token: HubToken
    revision: Annotated[str | None, Field(None, description="A branch, tag or commit. Default: `main`.")]
    include: Annotated[
        list[str] | None, Field(None, description="Fetch only files that match one of these glob patterns.")
    ]
    exclude: Annotated[list[str] | None, Field(None, description="Leave out files that match one of these.")]


class RefreshModel(Body):
    """What fetching the newest commit of a model's branch may need."""

    huggingface_token: HubToken


class UpdateModel(Body):
    """What is to change of a model; the rest stays as it is."""

    paused: Annotated[
        StrictBool | None, Field(None, description="Whether to stop fetching it, and keep what arrived, until resumed.")
    ]
    priority: Annotated[
        Priority | None,
        Field(None, description="Higher is fetched first. Each level counts as an hour of waiting; 0 by default."),
    ]


class ModelReference(Body):
    """A model, by its id or by its name where only one has it."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["id"]}, {"required": ["name"]}]})

    id: UUID | None = None
    name: Text | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "ModelReference":
        if self.id is None and self.name is None:
            raise ValueError('give {"id": …} or {"name": …}')
        return self


class CreateDeployment(Body):
    """A serving system's word that it uses a model."""

    name: DeploymentName
    model: ModelReference
    gpu_type: Text | None = None
    gpu_count: Count | None = None
    replicas: Count | None = None
    inference_engine_version: Text | None = None
    inference_engine_parameters: Parameters | None = None
    deployment_url: Text | None = None
    key: Annotated[
        Text | None, Field(None, description="The id of the API key that it pulls the model with, which renews it.")
    ]
    product_name: Annotated[Text | None, Field(None, description="Taken, and ignored: nothing is billed here.")]


class UpdateDeployment(Body):
    """What is to change of a deployment; the rest stays as it is."""

    name: Annotated[DeploymentName | None, Field(None)]
    inference_engine_version: Text | None = None
    inference_engine_parameters: Parameters | None = None


class ScaleDeployment(Body):
    """How many replicas serve the model now. With none, the deployment still holds it."""

    replicas: CountFromZero


def _unknown_key(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key.lower().replace("_", "-"), known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}."
    return f"Unknown key '{key}': {hint}"
