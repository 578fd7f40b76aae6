"""The error hierarchy, in the API's terms.

    DepotError
    ├── Refusal                 a request is rejected at once, naming the field; nothing was stored
    │   ├── BadRequest          400
    │   ├── Forbidden           403
    │   ├── NotFound            404
    │   ├── Conflict            409
    │   ├── NotReady            412
    │   ├── ModelInUse          412, carries the deployments
    │   ├── TooOften            429, carries the seconds to wait
    │   └── NoAnswer            503, the Hub or a worker does not answer at the moment
    └── OperationError          an accepted operation failed, with the contract's reason
        ├── Failed              permanently
        └── TryAgain            temporarily: worth another attempt later
            └── NotYet          other work must end first: no attempt was made, and none is counted

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
    """The base class. `message` is a sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Refusal(DepotError):
    """A rejected request; nothing was stored. `field` is the body's key that is at fault, if there is one.

    `reason` is why the Hub refuses what the request is about: what an operation would fail for.
    """

    def __init__(self, message: str, *, field: str | None = None, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


class BadRequest(Refusal):
    """The request does not match the contract."""


class Forbidden(Refusal):
    """The caller's key may not do this."""


class NotFound(Refusal):
    """No resource has that id."""


class Conflict(Refusal):
    """The request conflicts with an existing resource or its state."""


class NotReady(Refusal):
    """The resource is not in the state that the request needs."""


class ModelInUse(Refusal):
    """Deployments use the model. `deployments` holds their ids, oldest first."""

    def __init__(self, deployments: Sequence[UUID]) -> None:
        count = len(deployments)
        uses = "1 deployment uses" if count == 1 else f"{count} deployments use"
        super().__init__(f"{uses} this model. Delete what is listed under 'deployments' first, then delete the model.")
        self.deployments = tuple(deployments)


class TooOften(Refusal):
    """The caller asks more often than it may. `after` is the number of seconds until it may again."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


class NoAnswer(Refusal):
    """The answer must come from the Hub or a worker, and is not available at the moment.

    `after` is the number of seconds that the Hub asks to wait, if it does.
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class OperationError(DepotError):
    """An operation can't be carried out, for `reason`."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Failed(OperationError):
    """A permanent failure: another attempt would end the same way."""


class TryAgain(OperationError):
    """A temporary failure. `after` is the number of seconds that the server asked us to wait, if it did."""

    def __init__(self, reason: Reason, message: str, *, after: float | None = None) -> None:
        super().__init__(reason, message)
        self.after = after


class NotYet(TryAgain):
    """Other work of ours must end first. `after` is `None` if the operation keeps its place in the queue."""
