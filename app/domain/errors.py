"""Everything that can go wrong, in the API's words.

    DepotError
    ├── Refusal                 a request is turned down at once, naming the field; nothing was stored
    │   ├── BadRequest          400
    │   ├── NotFound            404
    │   ├── Conflict            409
    │   ├── NotReady            412
    │   ├── ModelInUse          412, carries the deployments
    │   └── NoAnswer            503, what was to be asked does not answer at the moment
    └── OperationError          an accepted operation went wrong, with the contract's reason
        ├── Failed              for good
        └── TryAgain            for now: worth another attempt after a while
            └── NotYet          something else must end first: no attempt was made, and none is counted

Every message tells its reader what to do and holds no secret.
"""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID


class Reason(StrEnum):
    """Why an operation failed.

    not-found     the Hub has no such repository, or no such revision
    forbidden     gated or private, and the token is missing, invalid, or its account has not accepted the licence
    incorrect     the request can't be carried out as written
    unsupported   the repository exists but is not one we can fetch
    busy          the Hub limits our rate, and still does after the retries
    unavailable   the Hub or its CDN can't be reached, and still can't after the retries
    partial       what arrived does not match the Hub's checksums, again after a clean retry
    interrupted   a delete cancelled it, or its workers kept dying
    conflict      the resource changed under it
    fault         our side: disk full, I/O error, a bug
    unknown       nothing above
    """

    NOT_FOUND = "not-found"
    FORBIDDEN = "forbidden"
    INCORRECT = "incorrect"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    PARTIAL = "partial"
    INTERRUPTED = "interrupted"
    CONFLICT = "conflict"
    FAULT = "fault"
    UNKNOWN = "unknown"


class DepotError(Exception):
    """The root: `message` is a sentence for a person."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Refusal(DepotError):
    """A request is turned down; nothing was stored. `field` is the key of the body that is at fault, where one is."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class BadRequest(Refusal):
    """The request is not of the contract's shape."""


class NotFound(Refusal):
    """No resource has that id."""


class Conflict(Refusal):
    """Something with the same identity is in the way."""


class NotReady(Refusal):
    """The resource is not in the state that the request needs."""


class ModelInUse(Refusal):
    """Deployments use the model. `deployments` holds their ids, oldest first."""

    def __init__(self, deployments: Sequence[UUID]) -> None:
        count = len(deployments)
        uses = "1 deployment uses" if count == 1 else f"{count} deployments use"
        super().__init__(f"{uses} this model. Delete what is listed under 'deployments' first, then delete the model.")
        self.deployments = tuple(deployments)


class NoAnswer(Refusal):
    """Somebody else would have to say it, and does not at the moment."""


class OperationError(DepotError):
    """An operation can't be carried out, for `reason`."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Failed(OperationError):
    """It is final: another attempt would end the same way."""


class TryAgain(OperationError):
    """It may pass. `after` is how many seconds the other side asked us to wait, if it did."""

    def __init__(self, reason: Reason, message: str, *, after: float | None = None) -> None:
        super().__init__(reason, message)
        self.after = after


class NotYet(TryAgain):
    """Something else of ours must end first. `after` is `None` where the operation keeps its place in the queue."""
