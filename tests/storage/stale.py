"""A client of a network file system as it is at its worst: it remembers which folder each name led to, and asks no more.

The last name of a rename is not remembered: NFS and FUSE send it, with the folder that it is in, to the server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def remembered(*folders: Path) -> Iterator[pytest.MonkeyPatch]:
    """While the block runs, renames find what is in one of `folders` there, wherever that was moved meanwhile."""
    handles = {folder: os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in folders}

    def rename(source: Path, target: Path) -> Path:
        where = [handles.get(path.parent) for path in (source, target)]
        names = [
            path.name if handle is not None else path for path, handle in zip((source, target), where, strict=True)
        ]
        os.rename(names[0], names[1], src_dir_fd=where[0], dst_dir_fd=where[1])
        return target

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            yield patch
    finally:
        for handle in handles.values():
            os.close(handle)
