"""What a store of models does, in meanings and not in paths.

Everything outside `app.storage` is written against `Store` and what it gives: `app.storage.incoming` has the files of
one attempt. To add a store, implement these, let `open_store` choose it, and add it to the stores of
`tests/storage/test_conformance.py`.

What holds for every store: a published model is complete, always; of two attempts at one model only the later one
publishes; everything can be repeated from any point, also by another process. All methods block; those that read or
write raise `OSError` if the store can't be used.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol
from uuid import UUID

from app.storage.incoming import Arrival
from app.storage.manifests import Manifest


class StoreAway(OSError):
    """A store over the network can't be reached, or does not work at the moment: try again later."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one model. `label`: see `app.storage.names.label`."""

    model_id: UUID
    label: PurePosixPath
    operation_id: UUID
    fence: int

    @property
    def name(self) -> str:
        return f"{self.operation_id}.{self.fence}"


@dataclass(frozen=True, slots=True)
class Space:
    """Of what the store is on, in bytes. None: the store does not know, since nobody tells it."""

    used: int | None
    free: int | None


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


class Signed(NamedTuple):
    """Addresses of published files, by path, from which anybody can read them, in ranges, too: they are secrets.

    They are good until `until`, in seconds since 1970.
    """

    urls: Mapping[str, str]
    until: int


class OpenFile(Protocol):
    """A published file of `size` bytes, open for reading. Whoever reads it goes on after its model is deleted."""

    @property
    def size(self) -> int: ...

    @property
    def fd(self) -> int | None:
        """A file descriptor to send it from; None if the store has none."""

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes at `offset`; none past the end."""

    def reader(self) -> AbstractContextManager[BinaryIO]:
        """Give its bytes from the beginning, in bounded memory, and close it."""

    def close(self) -> None: ...


class Store(Protocol):
    """Where the models are. `location` is what messages call it; `keep`: seconds for which the trash is kept."""

    @property
    def location(self) -> str: ...
    @property
    def advice(self) -> str:
        """A sentence that says where to look if the store can't be used."""

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

        An attempt that `mends` a published model leaves that in place. Raises `NotYet` while another process of this
        machine has them, where a store can tell.
        """

    def check_alone(self, model_id: UUID) -> None:
        """Raise `NotYet` as `arrival` does, `TryAgain` if the store is unusable, `StoreAway` if only for the moment."""

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

    def path(self, label: PurePosixPath, model_id: UUID) -> str:
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

    def sign(self, model_id: UUID, paths: Sequence[str]) -> Signed | None:
        """Return addresses of published files; None if the store gives none. Raises as `open` does."""

    def check(self, model_id: UUID, recorded: Mapping[str, tuple[int, str]], *, deep: bool = True) -> list[str]:
        """Compare a published model with its files' sizes and SHA-256, by path. Return a line for each problem.

        Unless it is `deep`, a store may trust what tells it that a file is the one that was published.
        """

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
