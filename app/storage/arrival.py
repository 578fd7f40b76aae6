"""The files of one attempt in its two folders: what is verified, and what is in flight."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from app.storage.folders import open_to_all, sync_folder
from app.storage.incoming import Bytes


class PosixArrival:
    """`tree`: files that are complete and verified, by their paths in the repository. `scratch`: files in flight."""

    def __init__(self, tree: Path, scratch: Path) -> None:
        self.tree = tree
        self.scratch = scratch

    @property
    def inbox(self) -> Path:
        return self.scratch / "hub"

    @property
    def parts(self) -> Path:
        """The folder of partial files."""
        return self.scratch / "parts"

    def has(self, path: str, size: int) -> bool:
        return self.is_at(str(self.tree / path), size)

    def sha256(self, path: str) -> None:  # noqa: ARG002  # no file system keeps it
        return None

    def open(self, path: str) -> BinaryIO:
        return (self.tree / path).open("rb", buffering=0)

    def accept(self, path: str) -> None:
        with self.open(path) as file:
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o444)

    def remove(self, path: str) -> None:
        (self.tree / path).unlink(missing_ok=True)

    def is_at(self, place: str, size: int) -> bool:
        with suppress(OSError):
            return Path(place).stat().st_size == size
        return False

    def link(self, path: str, place: str) -> bool:
        with suppress(OSError):
            _link(Path(place), self._place(path))
            return True
        return False

    def twin(self, path: str, other: str) -> None:
        _link(self.tree / other, self._place(path))

    def put(self, path: str, data: Bytes) -> None:
        target = self._place(path)
        # The target may be a hard link to another model's file, which must not be overwritten.
        target.unlink(missing_ok=True)
        with target.open("xb") as output:
            output.write(data)
            output.flush()
            os.fchmod(output.fileno(), 0o444)
            os.fsync(output.fileno())

    def take(self, path: str, source: Path) -> None:
        source.rename(self._place(path))

    def prune(self, wanted: Mapping[str, int]) -> None:
        for folder, _, names in os.walk(self.tree, topdown=False):
            for name in names:
                path = Path(folder, name)
                if wanted.get(path.relative_to(self.tree).as_posix()) != path.lstat().st_size:
                    path.unlink()
            if folder != str(self.tree):
                with suppress(OSError):
                    Path(folder).rmdir()  # refused unless it is empty

    def sync(self) -> None:
        for folder, _, _ in os.walk(self.tree):
            open_to_all(Path(folder))
            sync_folder(Path(folder))

    def _place(self, path: str) -> Path:
        target = self.tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it where the file system has no links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)
