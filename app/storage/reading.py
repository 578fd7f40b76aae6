"""Opens files by paths that others wrote, so that none leads out of its folder."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait for somebody who writes into it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class LocalFile:
    """An open file with a descriptor."""

    fd: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        return os.pread(self.fd, count, offset)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        with os.fdopen(self.fd, "rb", buffering=0) as file:
            yield file

    def close(self) -> None:
        os.close(self.fd)


def open_inside(folder: Path, path: str) -> LocalFile:
    """Open a file in a folder by its path. Raises `OSError`. No link is followed below the folder."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise FileNotFoundError(path)
    *folders, name = parts
    parent = os.open(folder, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
            os.close(parent)
            parent = inner
        fd = os.open(name, _FILE, dir_fd=parent)
    finally:
        os.close(parent)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return LocalFile(fd, status.st_size)
