"""Verifies that a file is byte for byte what the Hub's manifest says."""

import hashlib
from typing import BinaryIO, Protocol

from worker.download.listing import HubFile

_BLOCK = 1 << 20


class Digest(Protocol):
    """What is used of hashlib's objects."""

    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class Checksum:
    """A file's checksums, computed from its bytes in order: SHA-256, and Git's blob id if the manifest has no SHA-256.

    A blob id is the SHA-1 of `blob <size>`, a NUL and the bytes (Git's object format).
    """

    def __init__(self, file: HubFile) -> None:
        self._file = file
        self._header = f"blob {file.size}\0".encode()
        self._sha256: Digest = hashlib.sha256()
        self._git: Digest | None = None if file.sha256 else hashlib.sha1(self._header, usedforsecurity=False)

    def update(self, data: bytes | memoryview) -> None:
        self._sha256.update(data)
        if self._git:
            self._git.update(data)

    def matches(self) -> bool:
        if self._git:
            return self._git.hexdigest() == self._file.blob_id
        return self._sha256.hexdigest() == self._file.sha256

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def verify(file: HubFile, source: BinaryIO) -> str | None:
    """Return the SHA-256 of a file that was just opened; `None` if it differs from the manifest. Raises `OSError`."""
    checksum = checksum_of(file, source)
    return checksum.sha256 if checksum.matches() else None


def checksum_of(file: HubFile, source: BinaryIO) -> Checksum:
    """Return the checksum of a file that was just opened. Raises `OSError`."""
    checksum = Checksum(file)
    block = bytearray(_BLOCK)
    view = memoryview(block)
    while count := source.readinto(block):  # type: ignore[attr-defined]  # BinaryIO does not say that it has it
        checksum.update(view[:count])
    return checksum
