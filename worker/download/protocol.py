"""What a worker and the process of a download say to each other: frozen messages, each a JSON object on a line.

    the worker                 the download's process
    DownloadRequest     ->
                        <-     Resolved       what there is to fetch
    Located             ->
                        <-     Planned        what is left to fetch
    Go                  ->
                        <-     Progress       twice a second
                        <-     Verified       once for each file
                        <-     Waiting        all the rest is here; comes when contents were left to other downloads
    Located             ->
                        <-     Done, Failure or Crash

`PassOn` and `Bandwidth` may come at any time, and an empty line, which says that the lease is still held. `PassedOn`
answers `PassOn`. A `LookupRequest` is answered by `Found`, or as above.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import UUID

from app.domain.errors import Failed, NotYet, OperationError, Reason, TryAgain


class Content(NamedTuple):
    """One that a model needs. `path` is where one of its files has it."""

    sha256: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class Message:
    """Any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """What a process is for. `lease`: seconds without a word from the worker after which it ends.

    `stall_rate`: bytes a second, over `stall_window` seconds, under which a connection counts as stalled.
    """

    name: str
    revision: str
    token: str | None = field(repr=False)
    endpoint: str
    redirects_inside: bool
    lease: float
    stall_window: float
    stall_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupRequest(Request):
    """Say which commit the revision is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest(Request):
    """Fetch the files of the revision. `commit`: the one that it was before, to go on with.

    `mends`: what rotted of a published model. `backoff`: seconds after the first failure of a request.
    """

    model_id: UUID
    operation_id: UUID
    fence: int
    mends: bool
    commit: str | None
    include: Sequence[str]
    exclude: Sequence[str]
    storage: Path
    connections: int
    backoff: float
    xet: str
    fetcher: str


@dataclass(frozen=True, slots=True)
class Located(Message):
    """Where contents may be on this storage, and which ones other downloads fetch: each by its SHA-256."""

    links: Mapping[str, Sequence[str]]
    awaited: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Go(Message):
    """There is room: fetch it."""


@dataclass(frozen=True, slots=True)
class PassOn(Message):
    """Contents, by their SHA-256, that other downloads wait for: leave to them those that are not begun."""

    checksums: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bandwidth(Message):
    """Bytes a second that this process may use from here on; 0 is no limit."""

    limit: int


@dataclass(frozen=True, slots=True)
class Found(Message):
    """The commit that the revision is."""

    commit: str


@dataclass(frozen=True, slots=True)
class Resolved(Message):
    """What there is to fetch: `total` bytes in so many `files`."""

    commit: str
    total: int
    files: int
    contents: Sequence[Content]


@dataclass(frozen=True, slots=True)
class Planned(Message):
    """`missing`: bytes to fetch. `awaited`: what is left to other downloads, by its SHA-256."""

    missing: int
    awaited: Sequence[str]


@dataclass(frozen=True, slots=True)
class Progress(Message):
    """Bytes that are here, and bytes a second."""

    downloaded: int
    rate: int


@dataclass(frozen=True, slots=True)
class Verified(Message):
    """A file is in its place."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PassedOn(Message):
    """What is left to other downloads from here on, by its SHA-256."""

    checksums: Sequence[str]


@dataclass(frozen=True, slots=True)
class Waiting(Message):
    """All but `awaited` is here, `downloaded` bytes. The worker may end this process meanwhile."""

    awaited: Sequence[str]
    downloaded: int


@dataclass(frozen=True, slots=True)
class Done(Message):
    """Every file is in its place."""


@dataclass(frozen=True, slots=True)
class Failure(Message):
    """Why it can't be done. `again`: it may pass; `waits`: that was no attempt; `after`: seconds asked to wait."""

    reason: Reason
    message: str
    again: bool
    waits: bool
    after: float | None

    @classmethod
    def of(cls, error: OperationError) -> Self:
        after = error.after if isinstance(error, TryAgain) else None
        return cls(error.reason, error.message, isinstance(error, TryAgain), isinstance(error, NotYet), after)

    def error(self) -> OperationError:
        """The error that it was made of."""
        if not self.again:
            return Failed(self.reason, self.message)
        return (NotYet if self.waits else TryAgain)(self.reason, self.message, after=self.after)


@dataclass(frozen=True, slots=True)
class Crash(Message):
    """A bug ended it; its log says more."""

    message: str


_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        LookupRequest, DownloadRequest, Located, Go, PassOn, Bandwidth,
        Found, Resolved, Planned, Progress, Verified, PassedOn, Waiting, Done, Failure, Crash,
    )
}  # fmt: skip
_READ: Mapping[str, Callable[[Any], Any]] = {
    "model_id": UUID,
    "operation_id": UUID,
    "storage": Path,
    "reason": Reason,
    "contents": lambda contents: [Content(*one) for one in contents],
}
"""What is made of a field's JSON, by its name, where that is not JSON's own type."""


def encode(message: Message) -> bytes:
    """The line."""
    values = {one.name: getattr(message, one.name) for one in fields(message)}
    return json.dumps({"kind": type(message).__name__, **values}, default=str).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of a line that is not empty."""
    values = json.loads(line)
    kind = _KINDS[values.pop("kind")]
    return kind(**{name: _READ[name](value) if name in _READ else value for name, value in values.items()})
