"""Operations on folders of any kind."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

UNIT = 512
"""Bytes per unit of `st_blocks`, whatever the file system's block size is."""


def open_to_all(folder: Path) -> None:
    """Let everybody read a folder, like its files: engines run as other users, and the umask may forbid it."""
    mode = folder.stat().st_mode
    if mode & 0o055 != 0o055:
        with suppress(PermissionError):  # another user's folder, perhaps closed on purpose
            folder.chmod(mode | 0o055)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, readable by everybody."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        open_to_all(folder)


def sync_folder(folder: Path) -> None:
    """Make renames into `folder` survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def erase(folder: Path) -> None:
    """Remove a folder and its contents. Idempotent, and safe to run concurrently. Raises `OSError`."""
    while folder.exists():
        # Another process may be removing the same files.
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def taken(folder: Path) -> int:
    """Return the bytes on disk of the files below a folder; if it is removed meanwhile, of those seen."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(parent, name)).st_blocks * UNIT  # noqa: PTH118  # os.walk gives texts
    return size
