"""Types of the rows that services return. At run time these are SQLAlchemy's rows, so the types cost nothing."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from app.domain.commands import Command
from app.domain.errors import Reason
from app.domain.states import ModelStatus, OperationState


class SeenOperation(Protocol):
    """An operation as its caller sees it."""

    id: UUID
    state: OperationState
    reason: Reason | None
    message: str | None
    command: Command
    resource_id: UUID


class AcceptedOperation(SeenOperation, Protocol):
    """An operation for a request's answer and its audit."""

    resource_name: str


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


class ResolvedModel(SelectedModel, Protocol):
    """A model whose commit is known."""

    commit: str
