"""What is done to folders, whatever they are for."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

_UNIT = 512
"""Bytes that `st_blocks` counts in, whatever the file system's own blocks are."""


def open_to_all(folder: Path) -> None:
    """Let everybody read a folder, as they may its files: engines run as other users, and a umask may say otherwise."""
    mode = folder.stat().st_mode
    if mode & 0o055 != 0o055:
        with suppress(PermissionError):  # somebody else's, who may want it so
            folder.chmod(mode | 0o055)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that everybody can read."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        open_to_all(folder)


def sync_folder(folder: Path) -> None:
    """Make what was renamed into `folder` outlast a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def erase(folder: Path) -> None:
    """Remove a folder and all in it. May be repeated, and done by several at once. Raises `OSError`."""
    while folder.exists():
        # Somebody else may be removing the same files.
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def taken(folder: Path) -> int:
    """Bytes that the files below a folder take up; of one that is removed meanwhile, those that are seen."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(parent, name)).st_blocks * _UNIT  # noqa: PTH118  # os.walk gives texts
    return size
