"""What a store of models does, in meanings and not in paths: `Store` is the whole, `Arrival` the files of one attempt.

Everything outside `app.storage` is written against these two. To add a store, implement them, let `open_store` choose
it, and add it to the stores of `tests/storage/test_conformance.py`.

What holds for every store: a published model is complete, always; of two attempts at one model only the later one
publishes; everything can be repeated from any point, also by another process. All methods block; those that read or
write raise `OSError` if the store can't be used.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol
from uuid import UUID

from app.storage.manifests import Manifest


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one model."""

    model_id: UUID
    operation_id: UUID
    fence: int

    @property
    def name(self) -> str:
        return f"{self.operation_id}.{self.fence}"


@dataclass(frozen=True, slots=True)
class Space:
    """Of what the store is on, in bytes."""

    used: int
    free: int


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Bytes that one model takes."""

    own: int
    """Freed when the model is deleted."""
    shared: int
    """In published files that other models have, too."""
    arriving: int


class Removed(NamedTuple):
    """A published model that was moved to the trash at `since`, in seconds since 1970."""

    model_id: UUID
    since: int


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A published file of `size` bytes, open for reading. It stays readable after its model is deleted."""

    fd: int
    size: int

    def close(self) -> None:
        os.close(self.fd)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Give its bytes, and close it."""
        with os.fdopen(self.fd, "rb", buffering=0) as file:
            yield file


class Arrival(Protocol):
    """The files of one attempt, by their paths in the repository. For one process at a time."""

    def has(self, path: str, size: int) -> bool:
        """Whether a file of that size is there. Its content is not checked."""

    def open(self, path: str) -> BinaryIO:
        """Open a file, to verify it."""

    def accept(self, path: str) -> None:
        """Make a file that was verified durable and read-only."""

    def remove(self, path: str) -> None:
        """Remove a file. Idempotent."""

    def is_at(self, place: str, size: int) -> bool:
        """Whether a file of that size is at a place that `Store.find` or `Store.copy_of` told."""

    def link(self, path: str, place: str) -> bool:
        """Make a file of the content at `place`, without fetching it. Return False if that is not possible now."""

    def twin(self, path: str, other: str) -> None:
        """Make a file of the content of the attempt's file `other`."""

    def put(self, path: str, data: bytes) -> None:
        """Write a small file that was verified: whole, durable and read-only."""

    @property
    def parts(self) -> Path:
        """A local folder for partial files, with those that earlier attempts left."""

    @property
    def inbox(self) -> Path:
        """An empty local folder, for a library that fetches files by itself."""

    def take(self, path: str, source: Path) -> None:
        """Move a file from `parts` or `inbox` into its place."""

    def prune(self, wanted: Mapping[str, int]) -> None:
        """Remove files that are not `wanted`, or not of that size: an attempt at another commit left them."""

    def sync(self) -> None:
        """Make all files durable, and readable for everybody, before the attempt is published."""


class Store(Protocol):
    """Where the models are. `location` is what messages call it; `keep`: seconds for which the trash is kept."""

    @property
    def location(self) -> str: ...
    @property
    def keep(self) -> float: ...

    # The whole

    def prepare(self) -> None:
        """Create the store, if it is not there."""

    def complete(self) -> None:
        """Create what is missing inside a store that is there; one that is not mounted is not created."""

    def check_writable(self) -> None:
        """Raise `PermissionError` if this process may not write there, `FileNotFoundError` if it is not there."""

    def check_abilities(self) -> bool:
        """Return whether models can share files, which saves space. Raise `Failed` if a needed ability is missing."""

    def mark(self) -> UUID | None:
        """Return the mark that identifies the store; None before it has one."""

    def write_mark(self, mark: UUID) -> None: ...

    def space(self) -> Space: ...

    def measure(self) -> tuple[Mapping[UUID, ModelUsage], int]:
        """Return what each model takes, and their total in bytes. Files with the same content may be stored once."""

    # A model that arrives

    def arrival(self, attempt: Attempt, *, mends: bool = False) -> AbstractContextManager[Arrival]:
        """Give an attempt its files, with all that earlier attempts left of the model, for the length of the block.

        An attempt that `mends` a published model leaves that in place. Raises `NotYet` while another process has them.
        """

    def check_alone(self, model_id: UUID) -> None:
        """Raise `NotYet` while another process has the model's arriving files, `TryAgain` if the store is unusable."""

    def arriving_ids(self) -> set[UUID]:
        """Return the ids of models with unpublished files."""

    def arrived(self) -> Mapping[UUID, int]:
        """Return the bytes of each model's unpublished files, with those that are allocated only."""

    def last_change(self, model_id: UUID) -> float:
        """Return when a model's unpublished files last changed, in seconds since 1970; now while they are moved."""

    def discard_incoming(self, model_id: UUID) -> None:
        """Remove a model's unpublished files. Raises `NotYet` while they are written."""

    # A published model

    def publish(self, attempt: Attempt, manifest: Manifest) -> None:
        """Publish the attempt's files as the model, all at once. Raises `TryAgain` if the attempt was replaced."""

    def mend(self, attempt: Attempt, manifest: Manifest) -> None:
        """Replace files of the published model by the attempt's; the others stay, but for those not in the manifest.

        Idempotent. Raises `TryAgain` if the attempt was replaced.
        """

    def path(self, label: PurePosixPath) -> str:
        """Return what the API tells as the path of the model with a label: see `app.storage.names.label`."""

    def link(self, label: PurePosixPath, model_id: UUID) -> str:
        """Let engines find a published model by its label. Return its `path`."""

    def unlink(self, model_id: UUID) -> None:
        """Take away every label of a model."""

    def linked_ids(self) -> set[UUID]:
        """Return the ids that labels lead to, whether these models are there or not."""

    def published_ids(self) -> set[UUID]: ...

    def has(self, model_id: UUID) -> bool:
        """Whether a published model is there."""

    def find(self, model_id: UUID, path: str) -> Sequence[str]:
        """Return places of a verified file of a model that arrives, for `Arrival.link`; none if it is not there.

        One of them stays right if the model is published meanwhile.
        """

    def copy_of(self, model_id: UUID, path: str) -> str:
        """Return the place of a published file, for `Arrival.link`."""

    def open(self, model_id: UUID, path: str) -> OpenFile:
        """Open a published file. Raises `FileNotFoundError` if it is not there, or `path` leads out of the model."""

    def check(self, model_id: UUID, recorded: Mapping[str, tuple[int, str]]) -> list[str]:
        """Compare a published model with its files' sizes and SHA-256, by path. Return a line for each problem."""

    def discard(self, model_id: UUID, label: PurePosixPath) -> None:
        """Remove all of a model. Idempotent. Raises `NotYet` while a file is written."""

    # The store's own record of its models, from which a lost database can be made anew

    def record(self, manifest: Manifest) -> None:
        """Write a published model's manifest."""

    def records(self, model_id: UUID) -> Iterator[Manifest]:
        """Yield a model's manifests: the published one, then those of attempts that were about to publish."""

    def recorded_ids(self) -> set[UUID]:
        """Return the ids of models with a published manifest."""

    # The trash

    def take_away(self, model_id: UUID) -> None:
        """Move a published model to the trash, and take away its labels."""

    def restore(self, model_id: UUID) -> bool:
        """Bring a model back from the trash. Return False if it is not there. Raises `FileExistsError`."""

    def removed(self) -> Iterator[Removed]:
        """Yield what is in the trash."""

    def forget(self, model_id: UUID) -> None:
        """Remove a model from the trash."""

    def empty_trash(self, now: float) -> None:
        """Remove what was in the trash for longer than `keep`, and what dead processes left half removed.

        `now` is in seconds since 1970.
        """
