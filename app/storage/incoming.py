"""What arrives: the files of one attempt at a model, until it is published.

An arrival is a `LocalArrival`, whose files are in local folders before they are verified, or an `UploadArrival`, which
is sent the bytes as they come.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

Bytes = bytes | bytearray | memoryview


class Arrival(Protocol):
    """The files of one attempt, by their paths in the repository. For one process at a time."""

    def has(self, path: str, size: int) -> bool:
        """Whether a file of that size is there. Its content is not checked."""

    def sha256(self, path: str) -> str | None:
        """Return the SHA-256 of a file that was verified when it was stored; None if only reading it tells."""

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

    def put(self, path: str, data: Bytes) -> None:
        """Write a small file that was verified: whole, durable and read-only."""

    def prune(self, wanted: Mapping[str, int]) -> None:
        """Remove files that are not `wanted`, or not of that size: an attempt at another commit left them."""

    def sync(self) -> None:
        """Make all files durable, and readable for everybody, before the attempt is published."""


@runtime_checkable
class LocalArrival(Arrival, Protocol):
    """Files of an attempt that are in local folders until they are in their places."""

    @property
    def parts(self) -> Path:
        """A folder for partial files, with those that earlier attempts left."""

    @property
    def inbox(self) -> Path:
        """An empty folder, for a library that fetches files by itself."""

    def take(self, path: str, source: Path) -> None:
        """Move a file from `parts` or `inbox` into its place."""


@runtime_checkable
class UploadArrival(Arrival, Protocol):
    """Files of an attempt that are sent to the store as they arrive."""

    @property
    def largest_put(self) -> int:
        """Files of up to so many bytes are `put`, larger ones uploaded in parts."""

    def upload(self, path: str, size: int, sha256: str | None) -> "Upload":
        """Return the upload of a file, with what earlier attempts sent of it. Nothing is changed before its first part.

        A `sha256` is what later attempts trust: give it only if the bytes are verified before `Upload.complete`.
        """


class Upload(Protocol):
    """A file that is sent in parts, numbered from 1: each has `part_size` bytes, and the last one those that are left."""

    @property
    def part_size(self) -> int: ...

    @property
    def parts(self) -> int:
        """How many of the first parts are there already, as `record` was told."""

    @property
    def state(self) -> bytes:
        """What `record` was given with these parts; empty if there are none."""

    def send(self, number: int, data: Bytes) -> None:
        """Store a part, or replace it. For any number of threads, in any order."""

    def record(self, parts: int, state: bytes) -> None:
        """Make the first `parts` parts, which are sent and hashed, and the hash's `state` last for later attempts."""

    def complete(self) -> None:
        """Make the file of its parts, all of which are sent, by `send` or earlier. Raises `TryAgain` if they changed."""

    def abort(self) -> None:
        """Remove what was sent. Idempotent."""
