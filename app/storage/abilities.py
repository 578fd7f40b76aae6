"""Tests, before the first byte is fetched, that a storage's file system can do what publishing needs."""

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from app.domain.errors import Failed, Reason
from app.storage.folders import erase

PREFIX = ".try-"
"""Name prefix of a short-lived test folder. If its process is killed, housekeeping removes it."""
_LACKING = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EXDEV, errno.ENOLCK}
)
"""Errors of a file system that lacks an ability. A full disk is handled separately."""


def check_abilities(root: Path) -> bool:
    """Return whether hard links work, which save space. Raises `Failed` if a needed ability is missing.

    On a full disk nothing can be tested, and everything is assumed to work. Raises `OSError` for anything else.
    """
    folder = root / "incoming" / f"{PREFIX}{uuid4().hex}"
    try:
        return _try_all(root, folder)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        return True
    finally:
        erase(folder)


def _try_all(root: Path, folder: Path) -> bool:
    folder.mkdir()
    (folder / "file").touch()
    for what, attempt in _NEEDED.items():
        if not _can(attempt, root, folder):
            raise Failed(
                Reason.FAULT,
                f"The file system at {root} has no {what}, and no model can be published there. Keep DEPOT_STORAGE as "
                "one file system that has them, such as ext4, XFS, ZFS, APFS, NFS 4 or JuiceFS, and with permission to "
                "write.",
            )
    return _can(_link, root, folder)


def _can(attempt: Callable[[Path, Path], None], root: Path, folder: Path) -> bool:
    try:
        attempt(root, folder)
    except OSError as error:
        if error.errno not in _LACKING:
            raise
        return False
    return True


def _move(root: Path, folder: Path) -> None:
    """Rename a folder from where files arrive to where they are published, and back."""
    (folder / "tree").mkdir(exist_ok=True)
    there = root / "models" / folder.name
    (folder / "tree").rename(root / "verified" / folder.name)
    try:
        (root / "verified" / folder.name).rename(there)
        there.rename(folder / "tree")
    finally:
        for left in (root / "verified" / folder.name, there):
            with suppress(FileNotFoundError):
                left.rmdir()


def _symlink(_root: Path, folder: Path) -> None:
    (folder / "symlink").symlink_to("file")
    (folder / "symlink").replace(folder / "link")


def _lock(_root: Path, folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def _link(_root: Path, folder: Path) -> None:
    os.link(folder / "file", folder / "hard link")


_NEEDED = {
    "renames of folders between its own": _move,
    "symbolic links": _symlink,
    "locks (flock)": _lock,
}
