"""The shapes of answers, named as in the contract: kebab-case keys, ids as UUIDs, times in UTC, sizes in bytes."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, TypeAdapter

from app.api.values import GivenCount, GivenText, GivenTime, Time, is_none
from app.domain.commands import RESOURCE
from app.domain.errors import Reason
from app.domain.states import DeploymentStatus, ModelStatus, OperationState
from app.http.wire import Error, Wire
from app.services.rows import DeploymentRecord, OperationRecord


class Model(Wire):
    """A model. `state` equals `status`: newer clients read that name."""

    id: UUID
    name: str
    status: ModelStatus
    state: ModelStatus
    model_size: Annotated[int | None, Field(description="Bytes of all files: null until the Hub has told it.")]
    created_at: Time
    updated_at: Time
    deleting: Annotated[bool, Field(description="A delete was accepted: nothing is to load it any more.")]
    revision: str
    include: list[str]
    exclude: list[str]
    commit: Annotated[str | None, Field(description="What the revision resolved to.")]
    downloaded: Annotated[int | None, Field(description="Bytes that arrived.")]
    total: Annotated[int | None, Field(description="Bytes to fetch.")]
    files: Annotated[int | None, Field(description="How many files there are to fetch.")]
    files_verified: Annotated[int | None, Field(description="How many of them are here and verified.")]
    rate: Annotated[int | None, Field(description="Bytes per second, while downloading.")]
    path: Annotated[
        str | None,
        Field(None, exclude_if=is_none, description="Where engines load it from; left out unless it is ready."),
    ]
    reason: Annotated[Reason | None, Field(description="Why it is in error.")]
    message: str | None
    pulls: Annotated[int, Field(description="How often it was pulled by name; up to a minute old, like the next ones.")]
    bytes_sent: Annotated[int, Field(description="Bytes of its files that were sent.")]
    last_pulled_at: Annotated[Time | None, Field(description="When it was last pulled by name.")]
    last_pulled_by: Annotated[str | None, Field(description="With the key of this name; null without one.")]
    last_pulled_with: Annotated[str | None, Field(description="By a client that says that it is this.")]
    priority: Annotated[int, Field(description="Higher is fetched first.")]
    paused: Annotated[bool, Field(description="It is not fetched until it is resumed.")]
    follows: Annotated[
        str | None, Field(description="The branch or tag of which its commit is an update; null for other models.")
    ]
    latest: Annotated[
        str | None, Field(description="The commit that its branch or tag was at on the Hub when last looked up.")
    ]


class File(Wire):
    path: str
    size: int
    sha256: str


class SignedFile(File):
    url: Annotated[str, Field(description="Reads the file, in ranges, too, without a key: a secret.")]
    url_expires_at: Time


class Latest(Wire):
    """Where the branch or tag is that a model was fetched from."""

    revision: str
    commit: Annotated[str, Field(description="What the model holds.")]
    latest: Annotated[str, Field(description="What the revision is at on the Hub now.")]
    moved: Annotated[bool, Field(description="Whether these differ.")]
    held_by: Annotated[UUID | None, Field(description="The model that holds, or fetches, the latest, if it moved.")]


class Reference(Wire):
    """What an operation works on, and which API operation gets it."""

    id: UUID
    link: str
    command: str


class Operation(Wire):
    """A piece of work. `reason` only on failure or timeout."""

    id: UUID
    state: OperationState
    reason: Reason | None = None
    message: str | None = None
    reference: Reference


class DeployedModel(Wire):
    id: UUID
    name: str


class Deployment(Wire):
    id: UUID
    name: str
    model: DeployedModel
    status: DeploymentStatus
    state: DeploymentStatus
    gpu_type: GivenText
    gpu_count: GivenCount
    replicas: GivenCount
    deployment_url: str
    inference_engine_version: GivenText
    inference_engine_parameters: list[str]
    key: GivenText
    last_seen_at: GivenTime
    created_at: Time
    updated_at: Time
    visibility: str = "private"


class Zone(Wire):
    name: str
    api_endpoint: str
    sos_endpoint: str


class ModelList(Wire):
    models: list[Model]


class FileList(Wire):
    files: list[File]


class SignedFileList(Wire):
    """What `urls=1` asks for."""

    files: list[SignedFile]


class DeploymentList(Wire):
    deployments: list[Deployment]


class ZoneList(Wire):
    zones: list[Zone]


class ModelInUse(Error):
    """Why a model can't be deleted: these deployments use it."""

    deployments: list[UUID]


MODEL = TypeAdapter(Model)
MODELS = TypeAdapter(list[Model])
FILES = TypeAdapter(list[File])
SIGNED_FILES = TypeAdapter(SignedFileList)
LATEST = TypeAdapter(Latest)
OPERATION = TypeAdapter(Operation)
DEPLOYMENT = TypeAdapter(Deployment)
DEPLOYMENTS = TypeAdapter(list[Deployment])
ZONES = TypeAdapter(ZoneList)


def operation(row: OperationRecord) -> Operation:
    command, link = RESOURCE[row.command]
    reference = Reference(id=row.resource_id, link=f"{link}{row.resource_id}", command=command)
    return Operation(id=row.id, state=row.state, reason=row.reason, message=row.message, reference=reference)


def deployment(row: DeploymentRecord) -> Deployment:
    columns = row._asdict()
    model = DeployedModel(id=columns.pop("model_id"), name=columns.pop("model_name"))
    columns["deployment_url"] = columns["deployment_url"] or ""
    return Deployment(model=model, **columns)
