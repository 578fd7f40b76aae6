"""Opens files of published models for those that send them. All functions block: call them in a thread."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.storage.layout import Layout

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait for somebody who writes into it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that stays readable when its model is deleted. Whoever has it closes it, once."""

    fd: int
    size: int

    def close(self) -> None:
        os.close(self.fd)


def open_published(root: Path, model_id: UUID, path: str) -> OpenFile:
    """Open a file of a published model in the storage at `root`. Raises `OSError`.

    No link is followed below the model's folder, and `path` can't lead out of it.
    """
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise FileNotFoundError(path)
    *folders, name = parts
    folder = os.open(Layout(root).published(model_id), _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        fd = os.open(name, _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise FileNotFoundError(path)
    return OpenFile(fd, status.st_size)
