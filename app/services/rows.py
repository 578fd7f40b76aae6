"""Types of the rows that services return. At run time these are SQLAlchemy's rows, so the types cost nothing."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.states import DeploymentStatus, ModelStatus, OperationState


class Record(Protocol):
    """A row, as the tuple of its columns' values and by their names."""

    _fields: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]: ...
    def _asdict(self) -> dict[str, Any]: ...


class Placed(Record, Protocol):
    """A row of a list, oldest first, with its place in it: when it was created, in the database's type."""

    id: Any
    place: Any


class SelectedModel(Protocol):
    """What a model was asked to be, its status, and the commit that was found for it."""

    id: UUID
    status: ModelStatus
    name: str
    revision: str
    include: Sequence[str]
    exclude: Sequence[str]
    fingerprint: str
    commit: str | None
    follows: str | None
    """The branch or tag that `revision`, a commit, was fetched as an update of."""


class StandingModel(Record, Protocol):
    """A model that stands in the way of another with the same selection."""

    id: UUID
    status: ModelStatus
    deleting: bool
    commit: str | None


class RenamedModel(StandingModel, Protocol):
    """A model under another name of its repository."""

    name: str


class ResolvedModel(SelectedModel, Protocol):
    """A model whose commit is known."""

    commit: str


class NamedModel(SelectedModel, Protocol):
    """A model as those see it who ask for a repository by name."""

    downloaded: int | None
    total: int | None
    reason: Reason | None
    message: str | None
    created_at: datetime
    updated_at: datetime


class ModelRecord(Record, Protocol):
    """A model as its caller sees it. `path` is null unless it is ready and not being deleted."""

    id: UUID
    name: str
    status: ModelStatus
    state: ModelStatus
    model_size: int | None
    created_at: datetime
    updated_at: datetime
    deleting: bool
    revision: str
    include: Sequence[str]
    exclude: Sequence[str]
    commit: str | None
    downloaded: int | None
    total: int | None
    files: int | None
    files_verified: int | None
    rate: int | None
    path: str | None
    reason: Reason | None
    message: str | None
    pulls: int
    bytes_sent: int
    last_pulled_at: datetime | None
    last_pulled_by: str | None
    last_pulled_with: str | None
    priority: int
    paused: bool
    follows: str | None
    latest: str | None


class FileRecord(Record, Protocol):
    """A verified file of a model, as the tuple (path, size in bytes, sha256 in hexadecimal)."""

    path: str
    size: int
    sha256: str


class StoredFile(FileRecord, Protocol):
    """The same with git's id of the blob as the last part: None for a file in LFS, or one of an older version."""

    blob_id: str | None


class ModelShare(Record, Protocol):
    """A ready model with its bytes that no other model has, `own`, and the others, `shared`."""

    id: UUID
    name: str
    model_size: int | None
    own: int
    shared: int


class DeployableModel(Protocol):
    """A model that can be deployed. `branch`: the branch, tag or commit that it was asked for by."""

    id: UUID
    name: str
    branch: str
    commit: str | None
    include: Sequence[str]
    exclude: Sequence[str]


class OperationRecord(Protocol):
    """An operation as its caller sees it."""

    id: UUID
    state: OperationState
    reason: Reason | None
    message: str | None
    command: Command
    resource_id: UUID


class AcceptedOperation(OperationRecord, Protocol):
    """An operation for a request's answer and its audit."""

    resource_name: str


class HistoryRecord(OperationRecord, Protocol):
    """An operation with its history. `subject` is the resource's name, `now` the database's time.

    `begun_at` and `to_fetch` are of a download. `attempts` counts those in a row without progress; `retries` all that
    followed another one which failed or whose worker died. With a `lease_owner`, `later` tells whether the lease is still
    held; without one, whether the operation waits.
    `model_id` is the resource's id if that is a model that still exists.
    `took`, in seconds, is from the request to the end, null if that is nothing to speak of; `fetched`, in bytes, is of a
    download that succeeded, and `average` its bytes per second, without waits and pauses.
    """

    created_at: datetime
    ended_at: datetime | None
    due_at: datetime
    attempts: int
    retries: int
    request_id: str | None
    lease_owner: str | None
    leased_at: datetime | None
    begun_at: datetime | None
    to_fetch: int | None
    now: datetime
    later: bool
    paused: bool
    subject: str | None
    model_id: UUID | None
    took: float | None
    fetched: int | None
    average: float | None


class UnderWay(HistoryRecord, Protocol):
    """A pending operation with its model's progress, in bytes; null for other resources, and before it is known."""

    downloaded: int | None
    total: int | None
    rate: int | None


class FinishedDownload(Protocol):
    """A download that ended."""

    id: UUID
    state: OperationState
    resource_id: UUID
    name: str
    message: str | None
    ended_at: datetime


class SampleRecord(Protocol):
    """What was fetched in `seconds` from `at` on, and the storage at their end; all in bytes."""

    seconds: int
    at: datetime
    fetched: int
    best_minute: int | None
    """Of an hour: what was fetched in the minute in which most was."""
    used: int | None
    free: int | None


class LeasedOperation(Protocol):
    """An operation that a worker holds, with its model's name and progress; null if the model is gone."""

    lease_owner: str
    id: UUID
    command: Command
    resource_id: UUID
    state: OperationState
    retries: int
    request_id: str | None
    leased_at: datetime
    model_name: str | None
    downloaded: int | None
    total: int | None
    rate: int | None


class WorkerRecord(Protocol):
    """A worker. One not `alive` stopped without signing out, or can't reach the database."""

    name: str
    host: str
    version: str
    slots: int
    look_interval: float
    started_at: datetime
    seen_at: datetime
    alive: bool


class DeploymentRecord(Record, Protocol):
    """A deployment as its caller sees it."""

    id: UUID
    name: str
    model_id: UUID
    model_name: str
    status: DeploymentStatus
    state: DeploymentStatus
    gpu_type: str | None
    gpu_count: int | None
    replicas: int | None
    deployment_url: str | None
    inference_engine_version: str | None
    inference_engine_parameters: Sequence[str]
    key: str | None
    last_seen_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ListedDeployment(DeploymentRecord, Protocol):
    """A deployment and who declared it: `declared` or `by-pull`."""

    kind: str


class WebhookRecord(Protocol):
    """A message to the receiver of webhooks, without its body. `now` is the database's time."""

    id: UUID
    event: str
    model_id: UUID
    model_name: str
    created_at: datetime
    due_at: datetime
    attempts: int
    delivered_at: datetime | None
    error: str | None
    now: datetime
