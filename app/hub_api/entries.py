"""The files of what answers for a revision, as the Hub describes files."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID


class File(NamedTuple):
    """A verified file. `blob_id` is None for one in LFS, and where an older version recorded it."""

    model_id: UUID
    path: str
    size: int
    sha256: str
    blob_id: str | None

    @property
    def etag(self) -> str:
        """The Hub's own: git's id of a plain file, the SHA-256 of one in LFS."""
        return self.blob_id or self.sha256

    @property
    def git_id(self) -> str:
        """Git's id of what the repository holds: of a file in LFS, of the pointer to it."""
        return self.blob_id or hashlib.sha1(_blob(self._pointer), usedforsecurity=False).hexdigest()

    @property
    def lfs(self) -> dict[str, Any]:
        """What describes a file in LFS; empty for a plain one. Clients require all three keys."""
        if self.blob_id:
            return {}
        return {"sha256": self.sha256, "size": self.size, "pointerSize": len(self._pointer)}

    @property
    def _pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()


class Entries:
    """All files of one snapshot, and the folders that they are in."""

    def __init__(self, files: Iterable[File]) -> None:
        self.files: Mapping[str, File] = {file.path: file for file in sorted(files, key=lambda file: file.path)}

    @cached_property
    def folders(self) -> frozenset[str]:
        return frozenset(path[:end] for path in self.files for end, character in enumerate(path) if character == "/")

    @cached_property
    def by_checksum(self) -> Mapping[str, File]:
        return {file.sha256: file for file in self.files.values()}

    def below(self, folder: str, *, recursive: bool) -> list[str]:
        """Return the paths of files and folders in `folder`, in order; an empty one is the root."""
        start = f"{folder}/" if folder else ""
        found = (path for path in (*self.files, *self.folders) if path.startswith(start))
        return sorted(path for path in found if recursive or "/" not in path[len(start) :])


def _blob(content: bytes) -> bytes:
    return b"blob %d\0" % len(content) + content
