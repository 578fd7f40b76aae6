"""The messages between a worker and a download process: frozen dataclasses, each sent as a JSON object on a line.

    the worker                 the download process
    DownloadRequest     ->
                        <-     Resolved       what there is to fetch
    Located             ->
                        <-     Planned        what is left to fetch
    Go                  ->
                        <-     Progress       twice a second
                        <-     Verified       once for each file
                        <-     Waiting        all the rest is here; only if contents were left to other downloads
    Located             ->
                        <-     Done, Failure or Crash

The worker may send `PassOn`, `Bandwidth` and an empty line, which means that the lease is still held, at any time.
`PassedOn` answers `PassOn`. A `LookupRequest` is answered by `Found`, a `PlanRequest` by `Described`, a `SearchRequest` by
`Matches`; each also by `Failure` or `Crash`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Self
from uuid import UUID

from app.domain.errors import Failed, NotYet, OperationError, Reason, TryAgain
from app.storage.locations import S3Options


class Content(NamedTuple):
    """A content that a model needs. `path` is one of the model's files with it."""

    sha256: str
    size: int
    path: str


class PlannedFile(NamedTuple):
    """A selected file; `sha256` is None if it is not in LFS."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """Base class of all messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """The task of a process. `lease`: the lease's seconds; without a line from the worker for nearly as long, it ends.

    A connection counts as stalled below `stall_rate` bytes per second over `stall_window` seconds.
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
    """Resolve the revision to a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest(Request):
    """Describe what a download would fetch."""

    include: Sequence[str]
    exclude: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest(Request):
    """Find at most `limit` models by the words in their names."""

    name: str = ""
    revision: str = ""
    words: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest(Request):
    """Fetch the files of the revision. `commit`: the commit of an earlier attempt, to resume.

    `mends`: repair a published model. `backoff`: seconds to wait after the first failure of a request. `s3`: how the
    storage is reached if it is a bucket; `memory`: bytes for the parts that are then sent to it.
    """

    model_id: UUID
    label: PurePosixPath
    operation_id: UUID
    fence: int
    mends: bool
    commit: str | None
    include: Sequence[str]
    exclude: Sequence[str]
    storage: str
    connections: int
    backoff: float
    xet: str
    fetcher: str
    s3: S3Options = field(default_factory=S3Options)
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Located(Message):
    """By SHA-256: where contents may be on this storage, and which contents other downloads fetch."""

    links: Mapping[str, Sequence[str]]
    awaited: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Go(Message):
    """There is space: start fetching."""


@dataclass(frozen=True, slots=True)
class PassOn(Message):
    """SHA-256s of contents that other downloads wait for: leave those not begun to them."""

    checksums: Sequence[str]


@dataclass(frozen=True, slots=True)
class Bandwidth(Message):
    """Bytes per second that this process may use from now on; 0 is no limit."""

    limit: int


@dataclass(frozen=True, slots=True)
class Found(Message):
    """The revision's commit."""

    commit: str


@dataclass(frozen=True, slots=True)
class Described(Message):
    """What a download would fetch: `about` the repository, in the API's terms, and the selected files, largest first.

    `may_read`: whether the caller may read them.
    """

    about: Mapping[str, Any]
    selected: Sequence[PlannedFile]
    may_read: bool


@dataclass(frozen=True, slots=True)
class Matches(Message):
    """Models of the Hub, in the API's terms."""

    models: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Resolved(Message):
    """The selected files: their `total` bytes, the number of `files`, and their `contents`."""

    commit: str
    total: int
    files: int
    contents: Sequence[Content]


@dataclass(frozen=True, slots=True)
class Planned(Message):
    """`missing`: bytes to fetch. `awaited`: SHA-256s of contents left to other downloads."""

    missing: int
    awaited: Sequence[str]


@dataclass(frozen=True, slots=True)
class Progress(Message):
    """Bytes that are here, and bytes per second. `arriving`: some files of which a part is here, as (path, size, bytes)."""

    downloaded: int
    rate: int
    arriving: Sequence[Sequence[str | int]] = ()


@dataclass(frozen=True, slots=True)
class Verified(Message):
    """A file is in its place. `blob_id`: git's id of it, unless it is in LFS."""

    path: str
    size: int
    sha256: str
    blob_id: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOn(Message):
    """SHA-256s of contents that are left to other downloads from now on."""

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
    """Why it failed. `again`: try again; `waits`: this does not count as an attempt; `after`: seconds to wait."""

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
        """Return the original error."""
        if not self.again:
            return Failed(self.reason, self.message)
        return (NotYet if self.waits else TryAgain)(self.reason, self.message, after=self.after)


@dataclass(frozen=True, slots=True)
class Crash(Message):
    """A bug ended the process; details are in its log."""

    message: str


_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        LookupRequest, PlanRequest, SearchRequest, DownloadRequest, Located, Go, PassOn, Bandwidth,
        Found, Described, Matches, Resolved, Planned, Progress, Verified, PassedOn, Waiting, Done, Failure, Crash,
    )
}  # fmt: skip
_READ: Mapping[str, Callable[[Any], Any]] = {
    "model_id": UUID,
    "label": PurePosixPath,
    "s3": lambda options: S3Options(**options),
    "operation_id": UUID,
    "reason": Reason,
    "contents": lambda contents: [Content(*one) for one in contents],
    "selected": lambda selected: [PlannedFile(*one) for one in selected],
}
"""Field name to the converter from JSON, for types that JSON does not have."""


def encode(message: Message) -> bytes:
    """Return the message as a line."""
    values = {one.name: getattr(message, one.name) for one in fields(message)}
    return json.dumps({"kind": type(message).__name__, **values}, default=_plain).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a non-empty line."""
    values = json.loads(line)
    kind = _KINDS[values.pop("kind")]
    return kind(**{name: _READ[name](value) if name in _READ else value for name, value in values.items()})


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
