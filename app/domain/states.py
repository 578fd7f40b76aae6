"""The lifecycles of a model and of an operation, as tables.

A model (`COMES_FROM` lists all transitions; deleting removes the row from any state):

                         claimed, manifest known        verified, renamed
     POST ──▶ creating ───────────────▶ downloading ───────────────▶ ready
                ▲  │                         │                         │
                │  └────────────┬────────────┘                         │ a delete that failed half-way
                │               ▼                                      ▼
                └──────────── error ◀──────────────────────────────────┘
             the same POST again

A repair (`modeldepot storage verify --repair`) is a create-model operation of a ready model, which stays ready.

An operation ends once:      pending ──▶ success | failure | timeout
While it is pending a worker may hold a lease on it. The lease has columns of its own, so a worker that dies changes
no state.
"""

from collections.abc import Mapping
from enum import StrEnum


class ModelStatus(StrEnum):
    """What a model's files are.

    creating     accepted; no worker has said yet what there is to fetch
    downloading  a worker knows the manifest and files arrive in `incoming/`
    ready        every file is under `models/`, complete and verified
    error        its operation failed; what arrived is kept for a retry
    """

    CREATING = "creating"
    DOWNLOADING = "downloading"
    READY = "ready"
    ERROR = "error"


UNDER_WAY = (ModelStatus.CREATING, ModelStatus.DOWNLOADING)
"""The states of a model that is being fetched."""
PAUSED, DELETING = "paused", "deleting"
LISTED = (*UNDER_WAY, PAUSED, ModelStatus.READY, ModelStatus.ERROR, DELETING)
"""What models are called in lists, and found by there: one that is paused or deleted by that word instead of its status."""


class OperationState(StrEnum):
    """Whether the work an operation stands for is over, and how it ended."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"


class DeploymentStatus(StrEnum):
    """A deployment only declares that it uses a model, so it is ready at once."""

    READY = "ready"


COMES_FROM: Mapping[ModelStatus, frozenset[ModelStatus]] = {
    ModelStatus.CREATING: frozenset({ModelStatus.ERROR}),
    # From itself: a later attempt of the same operation resolves again.
    ModelStatus.DOWNLOADING: frozenset({ModelStatus.CREATING, ModelStatus.DOWNLOADING}),
    ModelStatus.READY: frozenset({ModelStatus.DOWNLOADING}),
    ModelStatus.ERROR: frozenset({ModelStatus.CREATING, ModelStatus.DOWNLOADING, ModelStatus.READY}),
}
"""For each state, the states from which a model may move to it."""
